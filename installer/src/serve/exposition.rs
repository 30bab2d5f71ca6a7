//! Prometheus' text format.

use std::fmt::{self, Display, Write as _};

/// Collects families, each with its help and type before its samples.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// The page so far.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Starts a family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family that was started last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escape(text));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// One histogram of the family that was started last. `bounds_us` and `sum_us` are in
    /// microseconds, `counts` has one bucket more than there are bounds; the page says seconds.
    pub fn histogram(
        &mut self,
        name: &str,
        label: (&str, &str),
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        let bounds = bounds_us
            .iter()
            .map(|bound| Seconds(*bound).to_string())
            .chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(counts) {
            below += count;
            self.sample(&format!("{name}_bucket"), &[label, ("le", &bound)], below);
        }
        self.sample(&format!("{name}_sum"), &[label], Seconds(sum_us));
        self.sample(&format!("{name}_count"), &[label], below);
    }

    /// A family of one sample.
    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A family whose samples differ by one label.
    pub fn each<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        samples: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.family(name, kind, help);
        for (text, value) in samples {
            self.sample(name, &[(label, text)], value);
        }
    }
}

/// Microseconds, shown as seconds without zeros at the end.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(us) = self;
        let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::{Page, Seconds, escape};

    #[test]
    fn a_histogram_adds_up() {
        let mut page = Page::default();
        page.histogram("x", ("a", "b"), &[250, 1_000_000], &[2, 0, 1], 3_000_450);
        assert_eq!(
            page.text,
            "x_bucket{a=\"b\",le=\"0.00025\"} 2\nx_bucket{a=\"b\",le=\"1\"} 2\n\
             x_bucket{a=\"b\",le=\"+Inf\"} 3\nx_sum{a=\"b\"} 3.00045\nx_count{a=\"b\"} 3\n"
        );
        assert_eq!(Seconds(0).to_string(), "0");
        assert_eq!(Seconds(10_000_000).to_string(), "10");
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
        let mut page = Page::default();
        page.sample("x", &[("a", "1"), ("b", "\"")], 7);
        page.sample("y", &[], 8);
        assert_eq!(page.text, "x{a=\"1\",b=\"\\\"\"} 7\ny 8\n");
    }
}

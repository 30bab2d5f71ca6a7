//! The metrics page: families are collected here and written by the Prometheus client library.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The media type of the page.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Collects families, each with its help and type before its samples.
#[derive(Debug, Default)]
pub struct Page {
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    name: String,
    kind: Kind,
    help: String,
    samples: Vec<(Vec<(String, String)>, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
enum Value {
    Number(u64),
    Histogram {
        sum: f64,
        count: u64,
        buckets: Vec<(f64, u64)>,
    },
}

impl Page {
    /// The page so far, in the text format of `OpenMetrics`.
    pub fn into_text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string cannot fail.
        if let Err(e) = encode(&mut text, &registry) {
            log::warn!("the metrics page is cut short: {e}");
        }
        text
    }

    /// Starts a family. A counter's name ends in `_total`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let kind = match kind {
            "counter" => Kind::Counter,
            "histogram" => Kind::Histogram,
            _ => Kind::Gauge,
        };
        self.families.push(Family {
            name: name.strip_suffix("_total").unwrap_or(name).to_owned(),
            kind,
            help: help.to_owned(),
            samples: Vec::new(),
        });
    }

    /// One sample of the family that was started last.
    pub fn sample(&mut self, _: &str, labels: &[(&str, &str)], value: u64) {
        self.push(labels, Value::Number(value));
    }

    fn push(&mut self, labels: &[(&str, &str)], value: Value) {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        if let Some(family) = self.families.last_mut() {
            family.samples.push((labels.collect(), value));
        }
    }

    /// One histogram of the family that was started last. `bounds_us` and `sum_us` are in
    /// microseconds, `counts` has one bucket more than there are bounds; the page says seconds.
    pub fn histogram(
        &mut self,
        _: &str,
        label: (&str, &str),
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        let bounds = bounds_us
            .iter()
            .map(|us| seconds(*us))
            .chain([f64::INFINITY]);
        let value = Value::Histogram {
            sum: seconds(sum_us),
            count: counts.iter().sum(),
            buckets: bounds.zip(counts.iter().copied()).collect(),
        };
        self.push(&[label], value);
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

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.families {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(&family.name, &family.help, None, kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    write(&mut metric, family.kind, value)?;
                } else {
                    write(&mut metric.encode_family(labels)?, family.kind, value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match value {
        Value::Number(value) if kind == Kind::Counter => {
            metric.encode_counter::<NoLabelSet, _, u64>(value, None)
        }
        Value::Number(value) => metric.encode_gauge(value),
        Value::Histogram {
            sum,
            count,
            buckets,
        } => metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None),
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_histogram_adds_up() {
        let mut page = Page::default();
        page.family("x", "histogram", "X.");
        page.histogram("x", ("a", "b"), &[250, 1_000_000], &[2, 0, 1], 3_000_450);
        assert_eq!(
            page.into_text(),
            "# HELP x X.\n# TYPE x histogram\nx_sum{a=\"b\"} 3.00045\nx_count{a=\"b\"} 3\n\
             x_bucket{le=\"0.00025\",a=\"b\"} 2\nx_bucket{le=\"1.0\",a=\"b\"} 2\n\
             x_bucket{le=\"+Inf\",a=\"b\"} 3\n# EOF\n"
        );
    }

    #[test]
    fn values_are_escaped() {
        let mut page = Page::default();
        page.family("x_total", "counter", "X.");
        page.sample("x_total", &[("a", "1"), ("b", "\"\\\n")], 7);
        page.one("y", "gauge", "Y.", 8);
        assert_eq!(
            page.into_text(),
            "# HELP x X.\n# TYPE x counter\nx_total{a=\"1\",b=\"\\\"\\\\\\n\"} 7\n\
             # HELP y Y.\n# TYPE y gauge\ny 8\n# EOF\n"
        );
    }
}

//! That a translated document is kept in step with its original.
//!
//! Words cannot be compared. What can: headings, code, the size of tables, and in each section the
//! numbers, the links and the words in backticks. Who changes a figure, a command or a link in one of
//! the two is told to change it in the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Originals, and their translations.
const PAIRS: [(&str, &str); 1] = [("README.md", "README.zh-CN.md")];

/// What is not in step under `root`, one line for each section; empty where nothing is.
///
/// # Errors
/// Where a document cannot be read.
pub fn faults(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (original, translation) in PAIRS {
        let read = |name| {
            let path = root.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let found = differences(&read(original)?, &read(translation)?);
        faults.extend(
            found
                .into_iter()
                .map(|fault| format!("{translation} is not in step with {original}: {fault}")),
        );
    }
    Ok(faults)
}

/// From one heading to the next.
#[derive(Debug, Default)]
struct Section {
    /// The heading's text.
    title: String,
    /// How many `#` it has; 0 before the first one.
    level: usize,
    /// Code blocks: their lines without comments, which may be translated.
    code: Vec<String>,
    /// Tables: rows and columns.
    tables: Vec<(usize, usize)>,
    /// Numbers, links and words in backticks, each with how often it is there.
    marks: BTreeMap<String, usize>,
}

/// What a translation lacks or has too much, in the original's words; empty where nothing is.
fn differences(original: &str, translation: &str) -> Vec<String> {
    let (one, other) = (sections(original), sections(translation));
    let levels = |all: &[Section]| all.iter().map(|s| s.level).collect::<Vec<_>>();
    if levels(&one) != levels(&other) {
        return vec![format!(
            "headings: levels {:?}, the translation has {:?}",
            levels(&one),
            levels(&other)
        )];
    }
    let mut faults = Vec::new();
    for (one, other) in one.iter().zip(&other) {
        let mut text = String::new();
        if one.code != other.code {
            text.push_str(" code differs;");
        }
        if one.tables != other.tables {
            let _ = write!(
                text,
                " tables of {:?} rows and columns, not {:?};",
                other.tables, one.tables
            );
        }
        let names: BTreeSet<&String> = one.marks.keys().chain(other.marks.keys()).collect();
        for name in names {
            let count = |section: &Section| section.marks.get(name).copied().unwrap_or(0);
            if count(one) != count(other) {
                let _ = write!(text, " {name} {} times, not {};", count(other), count(one));
            }
        }
        if !text.is_empty() {
            let title = if one.title.is_empty() {
                "the beginning"
            } else {
                &one.title
            };
            faults.push(format!("{title}:{}", text.trim_end_matches(';')));
        }
    }
    faults
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let (mut code, mut table) = (None::<String>, false);
    for line in text.lines() {
        let last = sections.len() - 1;
        let section = &mut sections[last];
        if line.trim_start().starts_with("```") {
            match code.take() {
                Some(block) => section.code.push(block),
                None => code = Some(line.trim().to_owned()),
            }
        } else if let Some(block) = &mut code {
            block.push('\n');
            block.push_str(without_comment(line));
        } else if line.starts_with('|') {
            let columns = line.matches('|').count() - 1;
            match section.tables.last_mut() {
                Some((rows, _)) if table => *rows += 1,
                _ => section.tables.push((1, columns)),
            }
            marks(line, &mut section.marks);
        } else {
            let level = line.bytes().take_while(|b| *b == b'#').count();
            if (1..=6).contains(&level) && line[level..].starts_with(' ') {
                let title = line[level..].trim().to_owned();
                sections.push(Section {
                    title,
                    level,
                    ..Section::default()
                });
            } else {
                marks(line, &mut section.marks);
            }
        }
        table = line.starts_with('|');
    }
    sections
}

/// A line of code up to a `#` that begins a comment.
fn without_comment(line: &str) -> &str {
    let comment = |&(at, _): &(usize, &str)| at == 0 || line[..at].ends_with(char::is_whitespace);
    let end = line
        .match_indices('#')
        .find(comment)
        .map_or(line.len(), |(at, _)| at);
    line[..end].trim_end()
}

fn marks(line: &str, found: &mut BTreeMap<String, usize>) {
    let mut add = |mark: String| *found.entry(mark).or_default() += 1;
    for word in line.split('`').skip(1).step_by(2) {
        add(format!("`{word}`"));
    }
    for link in line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        // Each names the other.
        if !PAIRS
            .iter()
            .any(|(one, other)| [*one, *other].contains(&link))
        {
            add(format!("link {link}"));
        }
    }
    let numeric = |c: char| c.is_ascii_digit() || c == '.';
    for number in line.split(|c| !numeric(c)).map(|n| n.trim_matches('.')) {
        if !number.is_empty() {
            add(number.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::differences;

    const ENGLISH: &str = "\
Text, [other](README.zh-CN.md).

# A

1.83x of 39 595 with `sockway on`, see [this](docs/a.md).

```sh
make demo   # in about three minutes
# a comment
```

## B

| a | b |
|---|---|
| 1 | 2 |
";
    const CHINESE: &str = "\
[README.md](README.md)

# 甲

`sockway on` 见[此](docs/a.md):39 595 的 1.83x。

```sh
make demo   # 约三分钟
# 注
```

## 乙

| 甲 | 乙 |
|---|---|
| 1 | 2 |
";

    #[test]
    fn words_may_differ_and_stand_in_another_order() {
        assert_eq!(differences(ENGLISH, CHINESE), [""; 0]);
    }

    #[test]
    fn everything_else_is_told() {
        for (old, new, said) in [
            (
                "1.83x",
                "1.84x",
                "A: 1.83 0 times, not 1; 1.84 1 times, not 0",
            ),
            ("make demo", "make test", "A: code differs"),
            (
                "`sockway on`",
                "`sockway off`",
                "A: `sockway off` 1 times, not 0; `sockway on` 0 times, not 1",
            ),
            (
                "docs/a.md",
                "docs/b.md",
                "A: link docs/a.md 0 times, not 1; link docs/b.md 1 times, not 0",
            ),
            (
                "| 1 | 2 |\n",
                "",
                "B: tables of [(2, 2)] rows and columns, not [(3, 2)]; 1 0 times, not 1; 2 0 times, not 1",
            ),
            (
                "## ",
                "### ",
                "headings: levels [0, 1, 2], the translation has [0, 1, 3]",
            ),
        ] {
            let changed = CHINESE.replace(old, new);
            assert_eq!(differences(ENGLISH, &changed), [said], "{old} to {new}");
        }
    }
}

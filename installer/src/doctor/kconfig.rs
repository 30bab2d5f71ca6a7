//! The kernel's build options, where the node keeps them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

/// Options that nothing works without; one of each row is enough.
pub const NEEDED: [&[&str]; 5] = [
    &["BPF_SYSCALL"],
    &["CGROUP_BPF"],
    &["INET"],
    &["NET_NS"],
    // Up to 5.11 the second one brought sockmap in.
    &["NET_SOCK_MSG", "BPF_STREAM_PARSER"],
];
/// Options that something works with less without.
pub const HELPFUL: [&str; 3] = [
    "BPF_JIT",
    "DEBUG_INFO_BTF",
    "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
];

/// A kernel's configuration.
#[derive(Clone, Debug)]
pub struct Kconfig {
    /// The file it was read from.
    pub path: PathBuf,
    enabled: Vec<String>,
}

impl Kconfig {
    /// More of a file is not read, bytes; a distribution's has about 300 KB.
    pub const MAX_TEXT: u64 = 8 << 20;

    /// Reads the first one that is there; `None` where the node keeps none.
    pub fn find(release: &str) -> Option<Self> {
        [
            PathBuf::from("/proc/config.gz"),
            PathBuf::from(format!("/boot/config-{release}")),
            PathBuf::from(format!("/lib/modules/{release}/config")),
        ]
        .into_iter()
        .find_map(|path| Self::read(&path))
    }

    fn read(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).ok()?;
        file.take(Self::MAX_TEXT).read_to_end(&mut bytes).ok()?;
        if path.extension().is_some_and(|e| e == "gz") {
            bytes = Self::unpack(&bytes)?;
        }
        Some(Self {
            path: path.to_owned(),
            enabled: enabled(&bytes),
        })
    }

    /// What a compressed one holds, up to [`Self::MAX_TEXT`]; `None` where it is broken.
    pub fn unpack(gz: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut text = GzDecoder::new(gz).take(Self::MAX_TEXT);
        text.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// True for an option that is built in or a module.
    pub fn has(&self, option: &str) -> bool {
        self.enabled.iter().any(|name| name == option)
    }

    /// Rows of [`NEEDED`] of which no option is set.
    pub fn missing(&self) -> Vec<String> {
        let rows = NEEDED.iter().filter(|row| !row.iter().any(|o| self.has(o)));
        rows.map(|row| row.join(" or ")).collect()
    }
}

/// The names of the options that are `y` or `m`, without `CONFIG_`.
///
/// The file is lines of `CONFIG_NAME=value` and comments; whatever else is in
/// it is passed over.
pub fn enabled(text: &[u8]) -> Vec<String> {
    text.split(|&b| b == b'\n')
        .filter_map(|line| {
            let line = std::str::from_utf8(line).ok()?.trim_end();
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            let word =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            (word && matches!(value, "y" | "m")).then(|| name.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Kconfig, enabled};
    use std::io::Write;

    const TEXT: &str = "#\n# Linux/x86 6.1.0 Kernel Configuration\n#\nCONFIG_BPF_SYSCALL=y\n\
        CONFIG_CGROUP_BPF=y\nCONFIG_INET=y\nCONFIG_NET_NS=y\nCONFIG_TLS=m\n\
        # CONFIG_NET_SOCK_MSG is not set\nCONFIG_HZ=250\nCONFIG_LSM=\"a,b\"\n";

    #[test]
    fn options_that_are_set() {
        assert_eq!(
            enabled(TEXT.as_bytes()),
            ["BPF_SYSCALL", "CGROUP_BPF", "INET", "NET_NS", "TLS"]
        );
        assert!(
            enabled(b"CONFIG_=y\nCONFIG_A B=y\nXCONFIG_C=y\n\xff\xfe=y\nCONFIG_D=n").is_empty()
        );
    }

    #[test]
    fn plain_and_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("config-6.1.0");
        std::fs::write(&plain, TEXT).unwrap();
        let packed = dir.path().join("config.gz");
        let file = std::fs::File::create(&packed).unwrap();
        let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gz.write_all(TEXT.as_bytes()).unwrap();
        gz.finish().unwrap();
        for path in [plain, packed] {
            let config = Kconfig::read(&path).unwrap();
            assert_eq!(config.missing(), ["NET_SOCK_MSG or BPF_STREAM_PARSER"]);
        }
        std::fs::write(dir.path().join("broken.gz"), "no gzip").unwrap();
        assert!(Kconfig::read(&dir.path().join("broken.gz")).is_none());
    }
}

//! A kernel's configuration as a distribution left it on the node, plain or compressed.

use sockway_installer::doctor::kconfig::{Kconfig, enabled};

/// `data` is a configuration file, and also one that is said to be compressed.
///
/// # Panics
/// Where an option is named that the text does not set, or more is unpacked than the bound.
pub fn check(data: &[u8]) {
    for option in enabled(data) {
        let lines = [format!("CONFIG_{option}=y"), format!("CONFIG_{option}=m")];
        let set = data.split(|&byte| byte == b'\n').any(|line| {
            let line = String::from_utf8_lossy(line);
            lines.iter().any(|wanted| wanted == line.trim_end())
        });
        assert!(set, "{option} is not set");
    }
    if let Some(text) = Kconfig::unpack(data) {
        assert!(text.len() as u64 <= Kconfig::MAX_TEXT);
        let _options = enabled(&text);
    }
}

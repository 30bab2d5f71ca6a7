//! The archive: blobs by their digest, the OCI index, docker's list beside it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use crate::Image;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Writes an image of that name (`registry/repository:tag`) for one or more
/// architectures; every time in it is `time`, in seconds since 1970.
///
/// # Errors
/// When there is no image, a file cannot be read, or the archive cannot be written.
pub fn write(to: &Path, name: &str, time: u64, images: &[Image]) -> Result<()> {
    let new = to.with_extension("new");
    let file = File::create(&new).with_context(|| format!("cannot write {}", new.display()))?;
    let mut archive = Archive {
        tar: Builder::new(BufWriter::new(file)),
        time,
    };
    archive
        .image(name, images)
        .and_then(|()| archive.tar.into_inner().context("cannot end the archive"))
        .and_then(|mut file| file.flush().context("cannot end the archive"))
        .with_context(|| format!("cannot write the image {name}"))?;
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))
}

struct Archive<W: Write> {
    tar: Builder<W>,
    time: u64,
}

impl<W: Write> Archive<W> {
    fn image(&mut self, name: &str, images: &[Image]) -> Result<()> {
        let Some(first) = images.first() else {
            bail!("an image of no architecture");
        };
        let mut manifests = Vec::new();
        let mut docker = None;
        for image in images {
            let (descriptor, entry) = self.manifest(name, image)?;
            manifests.push(descriptor);
            // docker's list knows no architectures: the first one's.
            docker.get_or_insert(entry);
        }
        let mut top = if manifests.len() == 1 {
            manifests.remove(0)
        } else {
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX,
                "manifests": manifests, "annotations": first.labels });
            self.document(INDEX, &index)?
        };
        let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
        // Both names: the tools look at one or the other.
        top["annotations"] = json!({ "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [top] });
        self.file("index.json", index.to_string().as_bytes())?;
        self.file("manifest.json", json!([docker]).to_string().as_bytes())?;
        self.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    /// Descriptor of an image's manifest, and its entry in docker's list.
    fn manifest(&mut self, name: &str, image: &Image) -> Result<(Value, Value)> {
        let layer = self.layer(image)?;
        let config = json!({
            "architecture": image.architecture,
            "os": "linux",
            "created": rfc3339(self.time),
            "config": {
                "User": image.user,
                "Env": image.environment,
                "Entrypoint": image.entrypoint,
                "Cmd": image.arguments,
                "Labels": image.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
            "history": [{ "created": rfc3339(self.time) }],
        });
        let config = self.document(CONFIG, &config)?;
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config,
            "layers": [layer], "annotations": image.labels });
        let mut descriptor = self.document(MANIFEST, &manifest)?;
        descriptor["platform"] = json!({ "os": "linux", "architecture": image.architecture });
        let docker = json!({ "Config": path(&config)?, "RepoTags": [name],
            "Layers": [path(&layer)?] });
        Ok((descriptor, docker))
    }

    fn layer(&mut self, image: &Image) -> Result<Value> {
        let file = tempfile::tempfile().context("cannot make a temporary file")?;
        let mut hashed = Hashed {
            to: BufWriter::new(file),
            hash: Sha256::new(),
            size: 0,
        };
        image.layer.write(&mut hashed, self.time)?;
        let Hashed { to, hash, size } = hashed;
        let mut file = to.into_inner().context("cannot write the layer")?;
        file.rewind().context("cannot read the layer")?;
        let descriptor = descriptor(LAYER, hash, size);
        let mut header = self.header(size);
        self.tar
            .append_data(&mut header, path(&descriptor)?, file)
            .context("cannot write the layer")?;
        Ok(descriptor)
    }

    fn document(&mut self, media: &str, document: &Value) -> Result<Value> {
        let bytes = document.to_string();
        let descriptor = descriptor(media, Sha256::new_with_prefix(&bytes), bytes.len() as u64);
        self.file(&path(&descriptor)?, bytes.as_bytes())?;
        Ok(descriptor)
    }

    fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let mut header = self.header(content.len() as u64);
        self.tar
            .append_data(&mut header, path, content)
            .with_context(|| format!("cannot write {path}"))
    }

    fn header(&self, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(self.time);
        header.set_size(size);
        header
    }
}

fn descriptor(media: &str, hash: Sha256, size: u64) -> Value {
    let digest = hash
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            // A String takes everything.
            let _ = write!(text, "{byte:02x}");
            text
        });
    json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": size })
}

/// Where a blob is in the archive.
fn path(descriptor: &Value) -> Result<String> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

struct Hashed<W> {
    to: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Seconds since 1970 as `2026-11-29T09:00:00Z`.
fn rfc3339(time: u64) -> String {
    let (days, seconds) = (time / 86_400, time % 86_400);
    // Howard Hinnant's civil_from_days, for dates from 1970 on.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 {
        month_shifted + 3
    } else {
        month_shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layer;

    #[test]
    fn writes_times() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_943_580), "2026-11-29T09:13:00Z");
    }

    #[test]
    fn every_blob_has_the_digest_of_its_name_and_every_run_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = directory.path().join(name);
            let image = |arch| Image::new(arch, Layer::new().text("etc/x", "1"), &["/x"]);
            write(&path, "reg/x:1", 7, &[image("amd64"), image("arm64")]).unwrap();
            fs::read(path).unwrap()
        };
        let bytes = make("one");
        assert_eq!(bytes, make("two"));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut blobs = 0;
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let Some(name) = path.strip_prefix("blobs/sha256/") else {
                continue;
            };
            let mut content = Vec::new();
            io::copy(&mut entry, &mut content).unwrap();
            let digest = descriptor("", Sha256::new_with_prefix(&content), 0);
            assert_eq!(digest["digest"], format!("sha256:{name}"));
            blobs += 1;
        }
        // A layer, a config and a manifest each, one index.
        assert_eq!(blobs, 7);
    }
}

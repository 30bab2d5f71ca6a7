use super::{
    Written, copy_program, lock_directory, read, remove, remove_leftovers, replace, temporary_path,
};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn replaces_and_keeps_the_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-terway.conflist");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // Left by a run that was killed.
    fs::write(temporary_path(&path), "half").unwrap();
    let old = read(&path).unwrap();
    assert_eq!(replace(&path, &old, "new").unwrap(), Written::Changed);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(names(dir.path()), ["10-terway.conflist"]);
}

#[test]
fn writes_nothing_where_nothing_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conflist");
    fs::write(&path, "same").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let old = read(&path).unwrap();
    assert_eq!(replace(&path, &old, "same").unwrap(), Written::Unchanged);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
}

#[test]
fn another_writer_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conflist");
    fs::write(&path, "old").unwrap();
    let old = read(&path).unwrap();
    fs::write(&path, "of another program").unwrap();
    assert_eq!(replace(&path, &old, "new").unwrap(), Written::Overtaken);
    assert_eq!(fs::read_to_string(&path).unwrap(), "of another program");
    assert_eq!(names(dir.path()), ["a.conflist"]);
}

#[test]
fn leftovers_go() {
    let dir = tempfile::tempdir().unwrap();
    for name in [".a.conflist.sockway-tmp", "b.sockway-tmp", ".c"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    remove_leftovers(dir.path()).unwrap();
    remove_leftovers(&dir.path().join("none")).unwrap();
    assert_eq!(names(dir.path()), [".c", "b.sockway-tmp"]);
}

#[test]
fn links_and_large_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, "x").unwrap();
    symlink(&target, &link).unwrap();
    assert!(
        read(&link)
            .unwrap_err()
            .to_string()
            .contains("symbolic link")
    );
    assert!(
        copy_program(&target, &link)
            .unwrap_err()
            .to_string()
            .contains("regular file")
    );
    fs::write(&target, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(
        read(&target)
            .unwrap_err()
            .to_string()
            .contains("not touched")
    );
    assert!(read(dir.path()).is_err());
}

#[test]
fn a_program_is_copied_once() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, "program").unwrap();
    assert_eq!(copy_program(&from, &to).unwrap(), Written::Changed);
    assert_eq!(copy_program(&from, &to).unwrap(), Written::Unchanged);
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o755);
    fs::write(&from, "another").unwrap();
    assert_eq!(copy_program(&from, &to).unwrap(), Written::Changed);
    assert!(remove(&to).unwrap());
    assert!(!remove(&to).unwrap());
}

#[test]
fn a_directory_is_locked_once() {
    let dir = tempfile::tempdir().unwrap();
    let held = lock_directory(dir.path(), Duration::ZERO).unwrap();
    let error = lock_directory(dir.path(), Duration::ZERO)
        .unwrap_err()
        .to_string();
    assert!(error.contains("locked"), "{error}");
    drop(held);
    lock_directory(dir.path(), Duration::ZERO).unwrap();
}

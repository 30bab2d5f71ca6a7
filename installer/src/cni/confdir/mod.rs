//! The directory of CNI configurations: which file the runtime would load.

mod role;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cni::CniArgs;
use crate::cni::conflist::{Conflist, ISTIO_TYPE, Problem};
use crate::cni::crio::Crio;
use crate::sys::files;
use role::Role;

/// How Istio names the file that it owns (its "owned" mode): a copy of the primary one with itself.
const ISTIO_OWNED: &str = "istio-cni.conflist";

/// The files that our entry belongs into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The file in effect first, then those that it is made from.
    pub files: Vec<PathBuf>,
    /// What keeps a runtime from loading it, or makes it load another one.
    pub troubles: Vec<String>,
}

/// Names that a runtime would load, in the order in which it looks at them.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn loadable(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| {
        format!(
            "cannot read {}: name the runtime's CNI configuration directory with --cni-conf-dir",
            directory.display()
        )
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let extension = Path::new(&name).extension().and_then(|e| e.to_str());
        if matches!(extension, Some("conf" | "conflist" | "json")) && !entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The files that our entry belongs into.
///
/// The list in effect is the first one that a runtime loads (containerd, cri-dockerd), or the one
/// that CRI-O was told by its name. Lists of other software and of second networks are passed over.
/// Where another program keeps a copy of that list (multus inside its own file, Istio in its owned
/// mode), the copy is what pods get, and is made anew from the list: the entry belongs into both, or
/// each would undo what the other wrote.
///
/// # Errors
///
/// Where there is no configuration, or the one that was named is not one.
pub fn targets(cni: &CniArgs) -> Result<Targets> {
    let directory = &cni.cni_conf_dir;
    let names = loadable(directory)?;
    let mut troubles = Vec::new();
    let roles: Vec<(&str, Role)> = names
        .iter()
        .map(|name| (&**name, role(&directory.join(name), name)))
        .collect();
    let primary = match cni.conf_name() {
        Some(name) => Some(named(directory, &roles, name)?),
        None => match Crio::read(&cni.crio_dir).network {
            Some(network) => Some(by_network(directory, &roles, &network)?),
            None => first(directory, &roles, &mut troubles)?,
        },
    };
    let Some(primary) = primary else {
        return Ok(Targets {
            files: Vec::new(),
            troubles,
        });
    };
    // Istio makes its own from the next one.
    let after = roles
        .iter()
        .skip_while(|(name, _)| *name != primary)
        .skip(1);
    let primary = match after
        .filter(|(_, role)| matches!(role, Role::Cluster { .. }))
        .find(|(name, _)| name.ends_with(".conflist"))
    {
        Some((next, _)) if is_istios(directory, primary) => next,
        _ => primary,
    };
    let mut files: Vec<&str> = copies(directory, &roles, primary);
    files.push(primary);
    files.dedup();
    if cni.crio_dir.exists() {
        // It goes on to the next file.
        troubles.clear();
    }
    Ok(Targets {
        files: files.into_iter().map(|name| directory.join(name)).collect(),
        troubles,
    })
}

fn role(path: &Path, name: &str) -> Role {
    match files::read(path) {
        Ok(snapshot) => role::of(name, &snapshot.text),
        // A symbolic link, a file of another owner's: what is wrong is said where it is to be changed.
        Err(_) => Role::Cluster {
            name: String::new(),
        },
    }
}

fn named<'a>(directory: &Path, roles: &[(&'a str, Role)], name: &str) -> Result<&'a str> {
    if let Some((found, _)) = roles.iter().find(|(n, _)| *n == name) {
        return Ok(found);
    }
    let all: Vec<&str> = roles.iter().map(|(n, _)| *n).collect();
    bail!(
        "{} holds no {name} (it has: {}): name one of these with --conf-name",
        directory.display(),
        if all.is_empty() {
            "nothing".to_owned()
        } else {
            all.join(", ")
        }
    );
}

/// The list of a name, as CRI-O looks for it.
fn by_network<'a>(directory: &Path, roles: &[(&'a str, Role)], network: &str) -> Result<&'a str> {
    let is = |path: &Path| {
        let text = files::read(path).map(|s| s.text).unwrap_or_default();
        Conflist::parse(&text).is_ok_and(|list| list.outer_name == network)
    };
    let found = roles.iter().find(|(name, _)| is(&directory.join(name)));
    found.map(|(name, _)| *name).with_context(|| {
        format!(
            "CRI-O is told to use network {network:?} (cni_default_network), of which {} holds no list: \
             the main CNI plugin has to be installed first",
            directory.display()
        )
    })
}

/// The file that decides where nobody chose: the first one of the cluster. `None` where there are only
/// others', into which the entry is never put: their software does not find the plugin.
fn first<'a>(
    directory: &Path,
    roles: &[(&'a str, Role)],
    troubles: &mut Vec<String>,
) -> Result<Option<&'a str>> {
    let path = |name: &str| directory.join(name).display().to_string();
    let mut broken: Option<(&&str, &Problem)> = None;
    let mut refers: Option<&str> = None;
    let mut copy: Option<&'a str> = None;
    for (name, role) in roles {
        match role {
            Role::Cluster { .. } => {
                if let Some((name, problem)) = broken {
                    troubles.push(format!(
                        "{} {problem}; containerd loads nothing while it is there, CRI-O passes it over",
                        path(name)
                    ));
                }
                return Ok(Some(referred(roles, refers).unwrap_or(name)));
            }
            Role::Copy { .. } => drop(copy.get_or_insert(name)),
            Role::Reference { to } => drop(refers.get_or_insert(to)),
            Role::Misnamed => troubles.push(format!(
                "{} holds a list, which runtimes take only from a file named *.conflist: containerd \
                 loads nothing while it is there, CRI-O passes it over",
                path(name)
            )),
            Role::Broken(problem) => drop(broken.get_or_insert((name, problem))),
            Role::Secondary { .. } | Role::Foreign { .. } | Role::None => {}
        }
    }
    if copy.is_some() {
        return Ok(copy);
    }
    let find = |wanted: fn(&Role) -> bool| roles.iter().find(|(_, role)| wanted(role));
    let fallback = find(|role| matches!(role, Role::Broken(_)))
        .or_else(|| find(|role| matches!(role, Role::Secondary { .. })))
        .or_else(|| find(|role| matches!(role, Role::Reference { .. })))
        .or_else(|| find(|role| matches!(role, Role::Foreign { never: false, .. })));
    if let Some((name, _)) = fallback {
        return Ok(Some(name));
    }
    let others: Vec<String> = roles
        .iter()
        .filter_map(|(name, role)| match role {
            Role::Foreign { of, .. } => Some(format!("{name} is {of}'s")),
            Role::Misnamed => Some(format!("{name} is no name for a list")),
            _ => None,
        })
        .collect();
    let none = format!("{} holds no CNI configuration", directory.display());
    if others.is_empty() {
        bail!("{none}: the main CNI plugin has to be installed first");
    }
    troubles.push(format!(
        "{none} of a cluster yet ({}): pods are registered once the main CNI plugin has written its own",
        others.join(", ")
    ));
    Ok(None)
}

/// The file that another one refers to, by its name or by its list's.
fn referred<'a>(roles: &[(&'a str, Role)], to: Option<&str>) -> Option<&'a str> {
    let to = to.filter(|to| !to.is_empty())?;
    // A path as it is inside multus' own container: only its last part means anything here.
    let file = to.rsplit('/').next().unwrap_or(to);
    let is = |(name, role): &&(&'a str, Role)| {
        *name == file
            || matches!(role, Role::Cluster { name } | Role::Secondary { name } if name == to)
    };
    roles.iter().find(is).map(|(name, _)| *name)
}

/// Files that hold a copy of a file's list, in the order in which runtimes look at them.
fn copies<'a>(directory: &Path, roles: &[(&'a str, Role)], primary: &str) -> Vec<&'a str> {
    let of = |wanted: &str| roles.iter().find(|(name, _)| *name == wanted);
    let Some((_, Role::Cluster { name: list } | Role::Secondary { name: list })) = of(primary)
    else {
        return Vec::new();
    };
    // Before all others in the directory a copy is what pods get, whatever its list is called.
    let leads = |at: usize| {
        let before = &roles[..at];
        let passed = |role: &Role| matches!(role, Role::Foreign { .. } | Role::None);
        before.iter().all(|(_, role)| passed(role))
    };
    let mut found = Vec::new();
    for (at, (name, role)) in roles.iter().enumerate() {
        match role {
            Role::Copy { name: copied } if copied == list || leads(at) => found.push(*name),
            Role::Cluster { .. } if *name != primary && is_istios(directory, name) => {
                found.push(*name);
            }
            _ => {}
        }
    }
    found
}

fn is_istios(directory: &Path, name: &str) -> bool {
    name.ends_with(ISTIO_OWNED) && {
        let text = files::read(&directory.join(name)).map(|s| s.text);
        Conflist::parse(&text.unwrap_or_default())
            .is_ok_and(|list| list.plugins.iter().any(|p| p.kind == ISTIO_TYPE))
    }
}

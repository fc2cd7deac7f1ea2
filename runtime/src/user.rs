//! Who a process in a container runs as: `USER[:GROUP]`, by name or number, in the container's own terms.

use std::io;

use pathrs::Root;

use crate::rootfs;

/// What a user means to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The other groups the user is in; none but those when a group was asked for, as Docker has it.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Why a `USER[:GROUP]` means nothing in a container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("`{}` is not in the container's /etc/passwd", .0.escape_debug())]
    UnknownUser(String),
    #[error("`{}` is not in the container's /etc/group", .0.escape_debug())]
    UnknownGroup(String),
    #[error("the home of `{}` in the container's /etc/passwd has a NUL octet", .0.escape_debug())]
    Home(String),
    #[error(
        "`{}` is in {count} groups of the container's /etc/group, and the kernel knows {MAX_GROUPS} of a process at most",
        .user.escape_debug()
    )]
    TooManyGroups { user: String, count: usize },
    #[error("cannot read the container's {path}")]
    Read {
        path: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Looks the user up inside `root`; none is root.
pub(crate) fn resolve(root: &Root, user: Option<&str>) -> Result<Identity, UserError> {
    let read = |path| {
        let text = rootfs::read_text(root, path).map_err(|source| UserError::Read { path, source })?;
        Ok(text.unwrap_or_default())
    };
    identify(user.unwrap_or_default(), &read("/etc/passwd")?, &read("/etc/group")?)
}

/// One line of passwd(5).
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// One line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn identify(text: &str, passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (user, wanted_group) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse().ok().filter(|number| *number <= MAX_ID);
    // A name of digits is a name first, as in chown(1).
    let entry = users(passwd)
        .find(|entry| entry.name == user)
        .or_else(|| users(passwd).find(|entry| Some(entry.uid) == number));
    let (uid, own_gid) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(UserError::UnknownUser(user.to_owned())),
    };
    let home = entry.as_ref().map_or("/", |entry| entry.home).to_owned();
    // It becomes a variable of the environment, which a NUL octet would end.
    if home.contains('\0') {
        return Err(UserError::Home(user.to_owned()));
    }
    if !wanted_group.is_empty() {
        let number = wanted_group.parse().ok().filter(|number| *number <= MAX_ID);
        let gid = groups(group)
            .find(|entry| entry.name == wanted_group)
            .map(|entry| entry.gid)
            .or(number)
            .ok_or_else(|| UserError::UnknownGroup(wanted_group.to_owned()))?;
        return Ok(Identity { uid, gid, groups: Vec::new(), home });
    }
    let mut others: Vec<u32> = match &entry {
        Some(user) => groups(group)
            .filter(|entry| entry.members.split(',').any(|member| member == user.name))
            .map(|entry| entry.gid)
            .collect(),
        None => Vec::new(),
    };
    others.sort_unstable();
    others.dedup();
    if others.len() > MAX_GROUPS {
        return Err(UserError::TooManyGroups { user: user.to_owned(), count: others.len() });
    }
    Ok(Identity { uid, gid: own_gid, groups: others, home })
}

/// NGROUPS_MAX of `include/uapi/linux/limits.h`: setgroups(2) refuses more.
const MAX_GROUPS: usize = 65_536;

/// The largest identifier that is not "none" in some system call.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else {
            return None;
        };
        Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Group { name, gid: gid.parse().ok()?, members: fields.next().unwrap_or_default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
broken line
www:x:33:34:www:/var/www:/bin/false
1000:x:7:7::/seven:
";
    const GROUP: &str = "\
root:x:0:
www-data:x:34:
log:x:40:www,other
mail:x:8:www
";

    #[test]
    fn users_and_groups_by_name_and_number() {
        for (text, uid, gid, groups, home) in [
            ("", 0, 0, &[][..], "/root"),
            ("root", 0, 0, &[], "/root"),
            ("www", 33, 34, &[8, 40], "/var/www"),
            ("33", 33, 34, &[8, 40], "/var/www"),
            ("www:log", 33, 40, &[], "/var/www"),
            ("www:99", 33, 99, &[], "/var/www"),
            (":log", 0, 40, &[], "/root"),
            ("4711", 4711, 0, &[], "/"),
            ("4711:4712", 4711, 4712, &[], "/"),
            ("1000", 7, 7, &[], "/seven"),
        ] {
            let expected = Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
            assert_eq!(identify(text, PASSWD, GROUP).expect(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_named() {
        for (text, expected) in [
            ("nobody", "`nobody` is not in the container's /etc/passwd"),
            ("-1", "`-1` is not in the container's /etc/passwd"),
            ("4294967295", "`4294967295` is not in the container's /etc/passwd"),
            ("www:staff", "`staff` is not in the container's /etc/group"),
            ("a\nb", "`a\\nb` is not in the container's /etc/passwd"),
        ] {
            assert_eq!(identify(text, PASSWD, GROUP).expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn a_home_that_no_variable_can_hold_is_refused() {
        let error = identify("www", "www:x:33:34:www:/var/\0www:/bin/false\n", GROUP).expect_err("it has a NUL");
        assert_eq!(error.to_string(), "the home of `www` in the container's /etc/passwd has a NUL octet");
    }

    #[test]
    fn more_groups_than_the_kernel_knows_are_refused() {
        let of = |count: usize| (1..=count).map(|gid| format!("g{gid}:x:{gid}:www\n")).collect::<String>();
        assert_eq!(identify("www", PASSWD, &of(MAX_GROUPS)).expect("as many may be").groups.len(), MAX_GROUPS);
        let error = identify("www", PASSWD, &of(MAX_GROUPS + 1)).expect_err("one too many");
        assert_eq!(
            error.to_string(),
            "`www` is in 65537 groups of the container's /etc/group, and the kernel knows 65536 of a process at most"
        );
    }
}

//! What `make install` puts where, what `make uninstall` leaves, and whether the unit is tight.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::server::Folder;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// `make TARGET` into a folder.
fn make(target: &str, folder: &Folder, more: &[&str]) {
    let program = format!("PROGRAM={}", env!("CARGO_BIN_EXE_swob-gateway"));
    let destination = format!("DESTDIR={}", folder.0.display());
    // A `make test` around this test passes its own options on.
    let output = Command::new("make")
        .args(["-C", TOP, "-s", target, &program, &destination])
        .args(more)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        // A debug build takes half a minute to compress.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .output()
        .unwrap();
    succeeded(&output);
}

fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Every file below a folder, with its mode.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                found.push(format!("{mode:o} /{}", path.strip_prefix(folder).unwrap().display()));
            }
        }
    }
    found.sort_by(|a, b| a[4..].cmp(&b[4..]));
    found
}

/// What is installed with this prefix, and its settings beside.
fn expected(prefix: &str, etc: &str) -> Vec<String> {
    let lib = [
        "sysctl.d/60-swob-gateway.conf",
        "systemd/system/swob-gateway.service",
        "systemd/system/swob-gateway.socket",
        "sysusers.d/swob-gateway.conf",
        "tmpfiles.d/swob-gateway.conf",
    ];
    let share = [
        "fail2ban/filter.d/swob-gateway.conf",
        "fail2ban/jail.d/swob-gateway.conf",
        "gateway.sql",
        "grants.sql",
        "proxy/Caddyfile",
        "proxy/apache.conf",
        "proxy/haproxy.cfg",
        "proxy/nginx.conf",
        "small.conf",
    ];
    let manual = fs::exists(format!("{TOP}/doc/swob-gateway.8")).unwrap();
    let mut files: Vec<String> =
        lib.iter().map(|file| format!("644 {prefix}/lib/{file}")).collect();
    files.extend(share.iter().map(|file| format!("644 {prefix}/share/swob-gateway/{file}")));
    files.extend(manual.then(|| format!("644 {prefix}/share/man/man8/swob-gateway.8")));
    files.push(format!("755 {prefix}/share/swob-gateway/installed.sh"));
    files.push(format!("755 {prefix}/share/swob-gateway/proxy/renewal-hook"));
    files.push(format!("755 {prefix}/bin/swob-gateway"));
    files.push(format!("640 {etc}/swob-gateway/gateway.ini"));
    files.sort_by(|a, b| a[4..].cmp(&b[4..]));
    files
}

#[test]
fn install_and_uninstall_leave_what_they_should() {
    let check = |prefix: &str, etc: &str| {
        let folder = Folder::new();
        let more = [format!("PREFIX={prefix}")];
        let more = [more[0].as_str()];
        make("install", &folder, &more);
        assert_eq!(files(&folder.0), expected(prefix, etc));
        let ini = folder.0.join(format!("{}/swob-gateway/gateway.ini", &etc[1..]));
        let settings = fs::read_to_string(&ini).unwrap();
        assert!(settings.contains("\nprivate_key = /var/lib/swob-gateway/server.key\n"));
        assert!(settings.contains("\nring = /var/lib/swob-gateway/ring\n"));
        let unit = format!("{}/lib/systemd/system/swob-gateway.service", &prefix[1..]);
        let unit = fs::read_to_string(folder.0.join(unit)).unwrap();
        let start = format!(
            "\nExecStart={prefix}/bin/swob-gateway --config {etc}/swob-gateway/gateway.ini serve\n"
        );
        assert!(unit.contains(&start), "{unit}");

        fs::write(&ini, "[page]\nenabled = yes\n").unwrap();
        make("install", &folder, &more);
        assert_eq!(fs::read_to_string(&ini).unwrap(), "[page]\nenabled = yes\n");
        make("uninstall", &folder, &more);
        assert_eq!(files(&folder.0), [format!("640 {etc}/swob-gateway/gateway.ini")]);
    };
    check("/usr/local", "/etc");
    check("/usr", "/etc");
    check("/opt/gateway", "/opt/gateway/etc");
}

#[test]
fn the_package_has_what_is_installed_and_its_scripts_are_sound() {
    let folder = Folder::new();
    let deb = format!("DEB={}", folder.0.join("deb").display());
    make("deb", &folder, &[&deb, "VERSION=1.2.3"]);
    let built: Vec<_> = fs::read_dir(folder.0.join("deb")).unwrap().collect();
    let [built] = built.as_slice() else { panic!("one package, not {built:?}") };
    let package = built.as_ref().unwrap().path();
    let unpacked = folder.0.join("unpacked");
    let unpack = |option, place: &Path| {
        let mut command = Command::new("dpkg-deb");
        succeeded(&command.arg(option).arg(&package).arg(place).output().unwrap());
    };
    unpack("--extract", &unpacked);
    let documents = |file: &String| file.contains(" /usr/share/doc/swob-gateway/");
    let (documents, rest): (Vec<_>, Vec<_>) = files(&unpacked).into_iter().partition(documents);
    let gzipped = |file: String| {
        if file.ends_with(".8") { format!("{file}.gz") } else { file }
    };
    let expected: Vec<_> = expected("/usr", "/etc").into_iter().map(gzipped).collect();
    assert_eq!(rest, expected);
    assert!(documents.contains(&"644 /usr/share/doc/swob-gateway/README.md".to_owned()));

    let control = folder.0.join("control");
    unpack("--control", &control);
    let read = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    assert!(read("control").contains("\nVersion: 1.2.3\n"), "{}", read("control"));
    assert_eq!(read("conffiles"), "/etc/swob-gateway/gateway.ini\n");
    for script in ["postinst", "prerm", "postrm"] {
        succeeded(&Command::new("sh").arg("-n").arg(control.join(script)).output().unwrap());
    }
}

#[test]
fn the_unit_exposes_little() {
    // In tenths; it ends with 1 where the unit exposes more.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(format!("{TOP}/swob-gateway.service"))
        .output()
        .unwrap();
    let said = succeeded(&output);
    println!("{}", said.lines().last().unwrap());
}

#[test]
fn the_units_are_understood() {
    let folder = Folder::new();
    make("install", &folder, &["PREFIX=/usr"]);
    // What they call has to exist, in this machine's folders.
    let units = ["swob-gateway.service", "swob-gateway.socket"].map(|name| {
        let text = fs::read_to_string(folder.0.join("usr/lib/systemd/system").join(name)).unwrap();
        let path = folder.0.join(name);
        fs::write(&path, text.replace("/usr/bin/swob-gateway", "/bin/true")).unwrap();
        path
    });
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(&units)
        .output()
        .unwrap();
    succeeded(&output);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

use std::fs;

use super::*;

fn value(flags: &SpecArgs) -> Result<Value> {
    let mut value = json!({ "job": { "name": "j", "module": "m.wasm" } });
    overlay(&mut value, flags)?;
    Ok(value)
}

#[test]
fn flags_set_fields() {
    let flags = SpecArgs {
        name: Some("k".to_owned()),
        count: Some("10".to_owned()),
        cpu: Some("0.5".to_owned()),
        memory: Some("128MiB".to_owned()),
        fuel: Some("2e9".to_owned()),
        timeout: Some("5s".to_owned()),
        output_limit: Some("2MiB".to_owned()),
        env: vec!["A=1".to_owned(), "B=x=y".to_owned()],
        arg: vec!["--top".to_owned()],
        grant: vec!["dir:corpus:/data".to_owned(), "dir:more:/more:ro".to_owned()],
        retries: Some(0),
        backoff: Some("1s..2s".to_owned()),
        priority: Some("7".to_owned()),
        constraint: vec!["arch=x86_64".to_owned(), "os==linux".to_owned()],
        max_running: Some("3".to_owned()),
        kind: Some("batch".to_owned()),
        tier: Some("preemptible".to_owned()),
        ..SpecArgs::default()
    };
    let spec = JobSpec::from_value(&value(&flags).unwrap()).unwrap();
    assert_eq!((spec.name.as_str(), spec.count, spec.max_running, spec.priority), ("k", 10, Some(3), 7));
    assert_eq!(spec.resources.cpu_milli, 500);
    assert_eq!(spec.resources.memory_bytes, 128 << 20);
    assert_eq!((spec.resources.fuel, spec.resources.timeout_ms), (2_000_000_000, Some(5_000)));
    assert_eq!(spec.resources.output_bytes, 2 << 20);
    assert_eq!(spec.env["B"], "x=y");
    assert_eq!(spec.args, ["--top"]);
    assert_eq!((spec.dirs.len(), spec.dirs[0].guest.as_str()), (2, "/data"));
    let mut writable = flags;
    writable.grant = vec!["dir:out:/out:rw".to_owned()];
    assert!(JobSpec::from_value(&value(&writable).unwrap()).unwrap().dirs[0].writable);
    assert_eq!((spec.retry.attempts, spec.retry.backoff_max_ms), (Some(1), 2_000));
    let constraints: Vec<_> = spec.placement.constraints.iter().map(ToString::to_string).collect();
    assert_eq!(constraints, ["arch == x86_64", "os == linux"]);
}

#[test]
fn malformed_flags_are_refused() {
    let flags = |change: fn(&mut SpecArgs)| {
        let mut flags = SpecArgs::default();
        change(&mut flags);
        value(&flags).map(|value| JobSpec::from_value(&value))
    };
    assert_eq!(flags(|f| f.env = vec!["A".to_owned()]).unwrap_err().exit(), Exit::Usage);
    assert_eq!(flags(|f| f.grant = vec!["corpus:/data".to_owned()]).unwrap_err().exit(), Exit::Usage);
    assert_eq!(flags(|f| f.grant = vec!["net:example.org".to_owned()]).unwrap_err().exit(), Exit::Usage);
    for (change, path) in [
        ((|f| f.count = Some("0".to_owned())) as fn(&mut SpecArgs), "job.count"),
        (|f| f.memory = Some("lots".to_owned()), "resources.memory"),
        (|f| f.grant = vec!["dir:c:/d:w".to_owned()], "grants.dir[0].mode"),
        (|f| f.kind = Some("servce".to_owned()), "job.kind"),
        (|f| f.retries = Some(1_000), "retry.attempts"),
        (|f| f.env = vec!["WEIR_X=1".to_owned()], "job.env.WEIR_X"),
    ] {
        let invalid = flags(change).unwrap().unwrap_err();
        assert_eq!(invalid.problems[0].path, path);
    }
}

#[test]
fn names_come_from_the_file() {
    for (source, expected) in [
        ("target/wordcount.wasm", Some("wordcount")),
        ("Word Count.wasm", Some("word-count")),
        ("_x_.wasm", Some("x")),
        ("-", None),
        ("ä.wasm", None),
    ] {
        assert_eq!(name_from(source).as_deref(), expected, "{source}");
    }
}

#[test]
fn sources_are_told_apart_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let wasm = write("prog.wasm", b"\0asm\x01\0\0\0");
    let resolved = resolve(&wasm, &SpecArgs::default()).unwrap();
    assert_eq!(resolved.spec.name, "prog");
    assert_eq!(resolved.module, ModuleSource::Bytes(b"\0asm\x01\0\0\0".to_vec()));

    let toml = write("job.toml", b"[job]\nname = \"t\"\nmodule = \"prog.wasm\"\n");
    let resolved = resolve(&toml, &SpecArgs::default()).unwrap();
    assert_eq!(resolved.spec.name, "t");
    assert_eq!(resolved.module, ModuleSource::Bytes(b"\0asm\x01\0\0\0".to_vec()));

    let digest = input::digest(b"x");
    let json = write("job.json", format!("{{\"job\":{{\"name\":\"s\",\"module\":\"{digest}\"}}}}").as_bytes());
    assert_eq!(resolve(&json, &SpecArgs::default()).unwrap().module, ModuleSource::Stored);

    let missing = write("missing.toml", b"[job]\nname = \"t\"\nmodule = \"nothing.wasm\"\n");
    assert_eq!(resolve(&missing, &SpecArgs::default()).unwrap_err().exit(), Exit::NotFound);
    for (name, bytes) in [("a", &b"\xff\xfe"[..]), ("b", b"hello"), ("c", b"{"), ("d.toml", b"[job]\nname = 1\n")] {
        let source = write(name, bytes);
        assert_eq!(resolve(&source, &SpecArgs::default()).unwrap_err().exit(), Exit::Invalid, "{name}");
    }
}

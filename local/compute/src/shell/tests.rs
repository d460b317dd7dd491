//! Tests of the output of scripts.

use super::*;
use crate::commands::tests::FakeTools;

async fn check(script: &str, output: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("id"), "i-1\n").unwrap();
    let environment = BTreeMap::from([("RESULT".to_owned(), "exit-code".to_owned())]);
    let done =
        run(dir.path(), &FakeTools::default(), script, &["exit", "two words"], &environment, Nest::limited(), None)
            .await;
    assert_eq!(String::from_utf8(done.output).unwrap() + &done.errors, output, "{script}");
}

#[tokio::test]
async fn a_script_has_variables_pipes_groups_and_lists() {
    check("# nothing\n\n", "").await;
    check("echo $1 \"$RESULT\" '$1' ${1}s", "exit exit-code $1 exits\n").await;
    check("id=$(cat /id)\necho s3://bucket/$id/$1", "s3://bucket/i-1/exit\n").await;
    check("{\n  echo one\n  echo $2\n} 2>&1 | tail -c 6", "words\n").await;
    check("[ \"$1\" = exit ] && echo yes || echo no; [ a = b ] && echo never", "yes\n").await;
    check("a=\"$2\"; b=$a$a; echo \"$b\"; echo ${missing}.", "two wordstwo words\n.\n").await;
    check("echo one \\\n  two", "one two\n").await;
    check("nothing 2>&1 | tail -c 9", "instance\n").await;
}

#[tokio::test]
async fn a_script_has_loops_and_files() {
    check("for x in a $1 \"$2\"; do echo $x; done", "a\nexit\ntwo words\n").await;
    check("for x in a b c; do\n  [ $x = b ] && break\n  echo $x\ndone; echo $x", "a\nb\n").await;
    check("x=a; while [ $x = a ]; do echo $x; x=b; done; echo $x", "a\nb\n").await;
    check("while true; do for x in 1 2; do echo $x; break; done; break; done", "1\n").await;
    check("for x in 1 2; do echo $x; done | tail -c 2", "2\n").await;
    check("echo lost > /dev/null; echo kept > /new; [ -s /new ] && cat /new", "kept\n").await;
    check("echo x > /one; mv /one /two; cp /two /three; cat /three; [ -s /one ] || echo gone", "x\ngone\n").await;
    check("{ echo a; echo b; } > /both; cat /both", "a\nb\n").await;
}

/// Checks the output, the errors and the status of a script.
async fn expect(script: &str, output: &str, errors: &str, status: i32) {
    let dir = tempfile::tempdir().unwrap();
    let done = run(dir.path(), &FakeTools::default(), script, &[], &BTreeMap::new(), Nest::limited(), None).await;
    let done = (String::from_utf8(done.output).unwrap(), done.errors, done.status);
    assert_eq!(done, (output.to_owned(), errors.to_owned(), status), "{script}");
}

const UNKNOWN: &str = "nothing: this command does not exist on a local instance\n";

#[tokio::test]
async fn a_substitution_has_a_status_and_errors() {
    expect("x=$(nothing) && echo yes", "", UNKNOWN, 1).await;
    expect("x=$(nothing) || echo no$x", "no\n", UNKNOWN, 0).await;
    expect("x=$(nothing)$(true) && echo yes", "yes\n", UNKNOWN, 0).await;
    expect("x=$(true)$(nothing) || echo no", "no\n", UNKNOWN, 0).await;
    expect("nothing; x=1 && echo yes", "yes\n", UNKNOWN, 0).await;
    expect("echo a$(nothing)", "a\n", UNKNOWN, 0).await;
    expect("$(nothing)", "", UNKNOWN, 1).await;
    expect("for x in $(nothing); do echo $x; done", "", UNKNOWN, 0).await;
    // Words are expanded before redirections, but those of a group within its redirection.
    expect("echo a$(nothing) 2>&1 | tail -c 2", "a\n", UNKNOWN, 0).await;
    expect("{ echo a$(nothing); } 2>&1 | tail -c 9", "instance\n", "", 0).await;
    expect("x=$(if true; then echo; fi)", "", "bash: 'if' does not exist on a local instance\n", 2).await;
    expect("x=$(echo $(nothing))", "", UNKNOWN, 0).await;
}

#[tokio::test]
async fn control_flow_is_that_of_bash() {
    let outside = "bash: break: only meaningful in a `for', `while', or `until' loop\n";
    let once = "x=a; while [ $x = a ]; do x=b;";
    expect(&format!("{once} [ a = b ]; done && echo yes"), "", "", 1).await;
    expect(&format!("{once} [ a = b ]; done || echo no"), "no\n", "", 0).await;
    expect(&format!("{once} true; done && echo yes"), "yes\n", "", 0).await;
    expect(&format!("{once} [ a = b ]; break; done && echo yes"), "yes\n", "", 0).await;
    expect("while [ a = b ]; do true; done && echo yes", "yes\n", "", 0).await;
    expect("x=a; x=b | true; echo $x", "a\n", "", 0).await;
    expect("x=a; true | x=b; echo $x", "a\n", "", 0).await;
    expect("x=a; { x=b; }; echo $x", "b\n", "", 0).await;
    expect("for x in 1 2; do echo x | break; echo $x; done", "1\n2\n", "", 0).await;
    expect("for x in 1 2; do { break; } | true; echo $x; done", "1\n2\n", &outside.repeat(2), 0).await;
    expect("for x in 1 2; do y=$(break; echo in); echo $y$x; done", "1\n2\n", "", 0).await;
    expect("for x in 1 2; do { break; }; done; echo $x", "1\n", "", 0).await;
    expect("break; echo on", "on\n", outside, 0).await;
    expect("break && echo on", "on\n", outside, 0).await;
    // A file is emptied before the command runs, and without it nothing runs.
    expect("echo a > /f; cat /f > /f; cat /f; [ -s /f ] || echo empty", "empty\n", "", 0).await;
    expect("nothing > /f; [ -s /f ] || cat /f", "", UNKNOWN, 0).await;
    let missing = "bash: /none/f: No such file or directory (os error 2)\n";
    expect("x=a; x=b > /none/f || echo $x", "b\n", missing, 0).await;
    expect("while true; do nothing; done > /none/f || echo no", "no\n", missing, 0).await;
    expect("nothing > /none/f 2>&1 | tail -c 3", "", missing, 0).await;
    expect("echo a > /dev/null", "", "", 0).await;
}

#[tokio::test]
async fn characters_without_a_meaning_are_words() {
    expect(
        "echo '{a,b}' \"{a,b}\" \\~ '~' a~b '[a]' \"$\" $ \"a\\\nb\" a\\\nb",
        "{a,b} {a,b} ~ ~ a~b [a] $ $ ab ab\n",
        "",
        0,
    )
    .await;
    expect("{ echo }; }; [ a = a ] && echo -x - --", "}\n-x - --\n", "", 0).await;
    expect("echo abc | tail -c 3; echo abc | tail -c 99999999999999999999999", "bc\nabc\n", "", 0).await;
}

#[tokio::test]
async fn scripts_that_run_scripts_have_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, script: &str| std::fs::write(dir.path().join(name), script).unwrap();
    write("argument", "echo $1; [ $1 = b ]");
    write("self", "{ { { { { { echo x; bash /self; }; }; }; }; }; }");
    write("many", &"bash /many\n".repeat(1000));
    write("loop", "while true; do true; done");
    let check = async |script: &str, nest: Nest, word: &str, status: i32| {
        let done = run(dir.path(), &FakeTools::default(), script, &[], &BTreeMap::new(), nest, None).await;
        let said = String::from_utf8(done.output).unwrap() + &done.errors;
        assert!(said.contains(word) && done.status == status, "{script}: {} {said}", done.status);
    };
    for nest in [Nest::limited, || Nest::ENDLESS] {
        check("bash /argument a && echo yes || echo no", nest(), "a\nno\n", 0).await;
        check("bash /argument b", nest(), "b\n", 0).await;
        check("bash /self", nest(), "x\nx\nx\nx\nx\nx\nx\nbash: too many levels of scripts", 2).await;
        check("x=$(bash /self)", nest(), "too many levels of scripts", 2).await;
        check("bash /many", nest(), "too many scripts", 1).await;
        check("bash /loop", nest(), "too many loop iterations", 1).await;
    }
    // The rounds of all of them count.
    let rounds = Nest::limited();
    check("bash /loop", rounds.clone(), "too many loop iterations", 1).await;
    check("bash /argument b", rounds.clone(), "too many scripts", 1).await;
    check("for x in a; do echo $x; done", rounds, "too many loop iterations", 1).await;
}

#[tokio::test]
async fn only_the_main_program_of_a_unit_loops_for_ever() {
    let (dir, none) = (tempfile::tempdir().unwrap(), BTreeMap::new());
    let script = "while true; do true; done";
    let before =
        run(dir.path(), &FakeTools::default(), script, &[], &none, Nest::limited(), Some(&|_: &[u8], _: &str| ()))
            .await;
    assert!(before.status == 1, "{before:?}");
}

#[tokio::test]
async fn the_loop_of_a_unit_prints_each_round_and_has_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let said = parking_lot::Mutex::new(String::new());
    let say = |output: &[u8], errors: &str| {
        *said.lock() += &(String::from_utf8_lossy(output).into_owned() + errors);
    };
    let (tools, none) = (FakeTools::default(), BTreeMap::new());
    let script = "while true; do echo x; nothing; { echo hidden; } > /dev/null; done";
    let endless = run(dir.path(), &tools, script, &[], &none, Nest::ENDLESS, Some(&say));
    tokio::time::timeout(Duration::from_millis(200), endless).await.unwrap_err();
    let said = said.lock();
    let round = "x\nnothing: this command does not exist on a local instance\n";
    assert!(said.starts_with(&round.repeat(2)) && !said.contains("hidden"), "{said}");
}

#[tokio::test]
async fn unsupported_syntax_is_refused() {
    for (script, word) in [
        ("if true; then echo; fi", "'if' does not exist"),
        ("echo x > ../passwd", "is not an absolute path"),
        ("echo x > /../passwd", "leads out of the instance"),
        ("echo x >> /x", "only `> FILE` exists"),
        ("echo x 2> /x", "only 2>&1 exists"),
        ("echo x 2>&1 > /x", "syntax error near `>'"),
        ("cat < /x", "'<' does not exist"),
        ("while true; do echo", "unexpected EOF"),
        ("for x of a; do echo; done", "syntax error near `for'"),
        ("while true; do true; done", "too many loop iterations"),
        ("x=$(while true; do true; done); while true; do echo; done", "too many loop iterations"),
        ("sleep 1 &", "jobs in the background"),
        ("echo `id`", "'`' does not exist"),
        ("echo \"`id`\"", "'`' does not exist"),
        ("echo $?", "'$?' does not exist"),
        ("echo \"$@\"", "'$@' does not exist"),
        ("echo $#", "'$#' does not exist"),
        ("echo $*", "'$*' does not exist"),
        ("echo $$", "'$$' does not exist"),
        ("echo $!", "'$!' does not exist"),
        ("echo $-", "'$-' does not exist"),
        ("echo $0", "'$0' does not exist"),
        ("echo ${0}", "only ${NAME} exists"),
        ("echo ${}", "only ${NAME} exists"),
        ("echo $'a'", "'$'' does not exist"),
        ("echo $\"a\"", "'$\"' does not exist"),
        ("echo {a,b}", "'{' in a word"),
        ("mkdir /x{1..3}", "'{' in a word"),
        ("echo ~/x", "'~' does not exist"),
        ("x=~", "'~' does not exist"),
        ("echo /x[ab]", "'[' in a word"),
        ("echo [ab]", "'[' in a word"),
        ("[[ a = a ]]", "'[' in a word"),
        ("echo -n x", "options of echo do not exist"),
        ("echo -e x", "options of echo do not exist"),
        ("echo -ne x", "options of echo do not exist"),
        ("echo x | tail -c +5", "only `tail -c BYTES`"),
        ("echo x | tail -c -5", "only `tail -c BYTES`"),
        ("echo \"open", "unexpected EOF"),
        ("{ echo", "unexpected EOF"),
        ("| echo", "syntax error"),
        ("rm -rf /", "rm: this command does not exist"),
        ("cat /../../etc/passwd", "leads out of the instance"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let done = run(dir.path(), &FakeTools::default(), script, &[], &BTreeMap::new(), Nest::limited(), None).await;
        assert!(done.status != 0 && done.errors.contains(word), "{script}: {}", done.errors);
    }
    let deep = format!("echo {}{}", "$(echo ".repeat(4000), ")".repeat(4000));
    let dir = tempfile::tempdir().unwrap();
    let done = run(dir.path(), &FakeTools::default(), &deep, &[], &BTreeMap::new(), Nest::limited(), None).await;
    assert_eq!(String::from_utf8(done.output).unwrap(), "\n");
    let nested = "{ ".repeat(4000);
    assert!(
        run(dir.path(), &FakeTools::default(), &nested, &[], &BTreeMap::new(), Nest::limited(), None)
            .await
            .errors
            .contains("too many")
    );
}

//! Which engines tests run on.

use pellucid_runtime::Engine;

/// Every engine but the interpreter, which is what they are compared with. An engine whose library is not there is
/// left out, and said so, unless `PELLUCID_REQUIRE_ONNXRUNTIME` is set: then it is a failure.
#[expect(clippy::print_stdout, reason = "what is left out is said")]
pub(crate) fn tested() -> Vec<Engine> {
    let required = std::env::var_os("PELLUCID_REQUIRE_ONNXRUNTIME").is_some_and(|value| value != "0");
    Engine::ALL
        .into_iter()
        .filter(|engine| *engine != Engine::Reference)
        .filter(|engine| match engine.available() {
            Ok(()) => true,
            Err(error) if required => panic!("{error}"),
            Err(error) => {
                println!("skipped on {}: {error}", engine.name());
                false
            }
        })
        .collect()
}

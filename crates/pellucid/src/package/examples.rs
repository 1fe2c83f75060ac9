//! Programs that run a packaged file, in Python and in Rust. They need onnxruntime and nothing of Pellucid.

use super::Package;

/// Files of a folder of examples, by name: `classify.py`, and a Rust package in `rust/`. `file` is the packaged file's name,
/// which the programs look for in the folder that they are started in.
pub fn examples(package: &Package, file: &str) -> Vec<(&'static str, String)> {
    let Some(image) = &package.image else { return vec![("run.py", numbers(package, file))] };
    let fill =
        |template: &str| template.replace("{{FILE}}", &escaped(file)).replace("{{IMAGE}}", &escaped(image));
    let has = |name: &str| package.outputs.iter().any(|output| output.name == name);
    if !has("probabilities") || !has("class") {
        return vec![("run.py", fill(include_str!("templates/outputs.py")))];
    }
    let python = fill(include_str!("templates/classify.py"));
    let (python, rust) = if has("attribution") {
        (python + include_str!("templates/attribution.py"), include_str!("templates/attribution.rs.txt"))
    } else {
        (python, "")
    };
    let main = fill(include_str!("templates/main.rs")).replace("    // {{ATTRIBUTION}}\n", rust);
    vec![
        ("classify.py", python),
        ("rust/Cargo.toml", include_str!("templates/Cargo.toml.txt").to_owned()),
        ("rust/src/main.rs", main),
    ]
}

/// For models that take no pictures.
fn numbers(package: &Package, file: &str) -> String {
    let told: Vec<String> =
        package.inputs.iter().map(|input| format!("# {}: {}", input.name, input.form)).collect();
    format!(
        "# What the file takes:\n{}\n{}",
        told.join("\n"),
        include_str!("templates/arrays.py").replace("{{FILE}}", &escaped(file))
    )
}

/// Inside quotes, in both languages.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(char::is_control, " ")
}

//! `docs/methods.md`, from the registry of methods.

use std::fmt::Write;

use pellucid::methods::{self, COMMON, Definition, Form, Parameter, ParameterKind};
use pellucid_compile::rules::{kind_names, rule_names};

use super::{COMMAND, cell};

/// The whole document.
pub(super) fn document() -> String {
    let methods = methods::all();
    let mut text = format!(
        "# Methods\n\n\
         Generated from the registry by `{COMMAND}`. `pellucid methods NAME` prints the same.\n\n\
         `f` is the score that is explained: the target's logit, or, where the network ends in a softmax, what goes into \
         it. `x` is the input, `x′` the baseline, `dy` and `dx` the signals at an operator's output and input.\n\n\
         A claim is an axiom that the method satisfies: *completeness*: the values sum to score − baseline score, up to \
         the quadrature error; *linearity*: the attribution of a·f + b·g is that of f times a plus that of g times b; \
         *implementation-invariance*: two graphs that compute the same function get the same attribution; *dummy*: an \
         input that the score does not depend on gets 0; *completeness-at-a-layer*: completeness of the values \
         at a layer that everything passes; *full-completeness*: input-gradient × input and the terms of every bias sum to the score; \
         *completeness-in-expectation*: completeness in expectation over what is drawn; *conservation-without-biases*: in \
         networks of linear operators, rectifiers, sums, concatenation and pooling without biases the values sum to the \
         score as the stabilisers vanish.\n\n\
         | method | what it computes | form | claims |\n|---|---|---|---|\n"
    );
    for definition in &methods {
        row(&mut text, definition);
    }
    points(&mut text);
    layers(&mut text);
    rules(&mut text);
    for definition in &methods {
        section(&mut text, definition);
    }
    text
}

/// What every compiled method takes besides its own parameters, told once.
fn points(text: &mut String) {
    text.push_str(
        "\n## Points\n\nEvery method whose form is *compiled* and which is evaluated once by itself can be evaluated at \
         several points: `--set points=smooth` takes the mean of its finished readouts over inputs with added noise, \
         `--set points=path` over the straight path from the baseline, where a signal, or a signal × input, becomes a \
         signal × (input − baseline). So `gradient` with `points=path` is `integrated-gradients`, and with \
         `points=smooth` `smoothgrad`; on the host and in the file that `compile` writes. A method that has points of its \
         own keeps them and refuses others; layer-wise relevance propagation takes `smooth` only, since shares of a score \
         are not multiplied by differences, and `deeplift`, which compares in one step, takes neither.\n",
    );
    table(text, COMMON);
}

/// The two options that are the same for every method, told once.
fn layers(text: &mut String) {
    text.push_str(
        "\n## Layers and units\n\n`--neuron LAYER[3,1,2]` explains a hidden unit in place of a class, by every method, in \
         `explain`, `compare`, `coverage` and `compile`. The place counts behind the rows; with fewer numbers than the \
         layer has axes the score is the mean over the axes that are left, so `LAYER[3]` is the mean of channel 3. \
         Captum's neuron selectors take a sum where they are given a slice: its values are ours times the number of \
         units; a 2 × 2 channel of 1, 2, 3, 4 has the score 2.5 here and 10 there.\n\n`--layer LAYER` gives values of the \
         layer's shape in place of the inputs', for every compiled method that is not a map by definition: the signal \
         stops there. `input-x-gradient` is then layer × gradient (Captum: LayerGradientXActivation), and a layer that \
         several paths read gets the sum of their signals. A method that compares with a baseline moves the layer's own \
         values, from what they are at the baseline to what they are at the input, everything that bypasses the layer \
         staying at the input (Captum: LayerIntegratedGradients); its baseline's score is that of the network so fed, and \
         its values sum to the difference. Drawn baselines do the same: Captum's LayerGradientShap takes derivatives at \
         points between inputs instead and multiplies by the layer's difference, which sums to nothing in particular. By \
         hand: f = h², h = x², from 0 to 1: between inputs the mean derivative 2h is 2/3, and 2/3 · 1 is not 1; between \
         values of the layer it is 1. Noise alone (`smoothgrad`) is added to the model's inputs. Class activation maps, \
         `conductance` and `internal-influence` look at a layer by themselves, and `--layer` names it. A layer that the \
         score does not depend on is refused.\n",
    );
}

/// Files of rules for relevance, told once.
fn rules(text: &mut String) {
    text.push_str(
        "\n## Rules of your own\n\nEvery method of layer-wise relevance propagation takes a file of rules, `--set rules=FILE`, \
         that come before its own; of several that meet a node the first counts. A rule says where it applies (`layer`: a \
         name, `*` and `?` standing for characters; `kind`; `depth`: how many layers lie before it, one number or the \
         least and the most; `first = true`: the first layer), all of which must hold, and by `use` which rule it is:\n\n\
         ```toml\n[[rule]]\nlayer = \"features.0*\"\nuse = \"z-box\"\nlow = [-2.1, -2.0, -1.8]\nhigh = [2.2, 2.4, 2.6]\n\n\
         [[rule]]\nkind = \"convolution\"\ndepth = [0, 3]\nuse = \"gamma\"\ngamma = 0.5\n```\n\n\
         | `use` | parameters besides `stabilizer` |\n|---|---|\n",
    );
    for (name, parameters) in rule_names() {
        let parameters: Vec<String> = parameters.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| `{name}` | {} |", parameters.join(", "));
    }
    let kinds: Vec<String> = kind_names().iter().map(|name| format!("`{name}`")).collect();
    let _ = writeln!(text, "\nKinds are {}.", kinds.join(", "));
}

fn form(definition: &Definition) -> &'static str {
    match definition.form {
        Form::Compiled(_) => "compiled",
        Form::Host => "host",
    }
}

fn claims(definition: &Definition) -> String {
    let names: Vec<&str> = definition.claims.iter().map(|claim| claim.name()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn row(text: &mut String, definition: &Definition) {
    let name = definition.name;
    let (summary, claims) = (cell(definition.summary), claims(definition));
    let _ = writeln!(text, "| [{name}](#{name}) | {summary} | {} | {claims} |", form(definition));
}

fn section(text: &mut String, definition: &Definition) {
    let source = definition.source;
    let _ = write!(
        text,
        "\n## {}\n\n{}.\n\n    {}\n\n",
        definition.name,
        definition.summary.trim_end_matches('.'),
        definition.formula
    );
    if !definition.conventions.is_empty() {
        let _ = write!(text, "{}\n\n", definition.conventions);
    }
    let _ = writeln!(text, "- Source: {} ({}), {}, {}", source.authors, source.year, source.title, source.id);
    let _ = writeln!(text, "- Claims: {}", claims(definition));
    let _ = writeln!(text, "- Cost: {}", definition.cost);
    let _ = writeln!(text, "- Values: {}", if definition.signed { "signed" } else { "0 and above" });
    let _ = writeln!(text, "- Compares with a baseline: {}", if definition.baseline { "yes" } else { "no" });
    if definition.background() {
        let _ = writeln!(text, "- Draws baselines from a background: yes");
    }
    let _ = writeln!(text, "- Looks at a layer: {}", if definition.layer { "yes" } else { "no" });
    let runs = match definition.form {
        Form::Compiled(_) => "as one graph, on any engine, and in the file that `compile` writes",
        Form::Host => "by evaluating the model from outside; it does not compile into a file",
    };
    let _ = writeln!(text, "- Runs: {runs}");
    if !definition.parameters.is_empty() {
        table(text, definition.parameters);
    }
}

fn table(text: &mut String, parameters: &[Parameter]) {
    text.push_str("\n| `--set` | meaning | values | default |\n|---|---|---|---|\n");
    for parameter in parameters {
        let default = if parameter.default.is_empty() { "–" } else { parameter.default };
        let (summary, values) = (cell(parameter.summary), cell(&values(parameter.kind)));
        let _ = writeln!(text, "| `{}` | {summary} | {values} | {default} |", parameter.name);
    }
}

fn values(kind: ParameterKind) -> String {
    match kind {
        ParameterKind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        ParameterKind::Number { min, max } => format!("a number from {min} to {max}"),
        ParameterKind::Choice(words) => words.join(", "),
        ParameterKind::Sizes => "sizes joined by x, such as 32 or 32x32".to_owned(),
        ParameterKind::Numbers(words) => format!("numbers separated by commas, or {}", words.join(" or ")),
        ParameterKind::Text => "text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_told_whole() {
        let text = document();
        let expected = "\n## integrated-gradients\n";
        let start = text.find(expected).unwrap();
        let section = &text[start..];
        assert!(section.contains("arXiv:1703.01365"), "{section}");
        assert!(section.contains("| `steps` |"), "{section}");
        assert!(section.contains("- Compares with a baseline: yes"), "{section}");
    }
}

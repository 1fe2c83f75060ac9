//! Differences from a baseline, carried by the rescale rule: exact through every operator that has a derivative, at
//! inputs and baselines on both sides of every kink; what cannot be exact is refused by name.

use std::collections::BTreeSet;

use pellucid_compile::methods::{Settings, find_compiled};
use pellucid_compile::rules::{Rule, RuleMap, When};
use pellucid_compile::step::{Signals, Step};
use pellucid_compile::{CompileError, Method, Request, Var, program};
use pellucid_reference::{Array, run};

use crate::cases;
use crate::check::{Case, Input, build, spread};

/// Operators of which some case cannot be exact, and which say so: those of which a case makes parameters depend on the
/// input, products of three, and the order that a `TopK` makes.
const REFUSED: &[&str] = &[
    "BatchNormalization",
    "Clip",
    "DequantizeLinear",
    "Einsum",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "Mod",
    "PRelu",
    "Pow",
    "TopK",
];

fn deeplift() -> Method {
    let definition = find_compiled("deeplift").unwrap();
    let settings = Settings::new(definition, &[]).unwrap();
    definition.method(&settings).unwrap().unwrap()
}

/// score − baseline score − Σ values, as a share of Σ|values|; `None` where nothing differs.
fn gap(case: &Case, method: &Method) -> Result<Option<f64>, CompileError> {
    let mut seed = 7;
    let (builder, inputs, loss) = build(case, &mut seed).unwrap();
    let loss = builder.var(loss).reshape(&[1]).id();
    let mut graph = builder.finish()?;
    graph.set_outputs(vec![loss]);
    let program = program(&graph, method, &Request::default())?;
    let mut fed = Vec::new();
    let floats = case.inputs.iter().filter_map(|input| match input {
        Input::Float(shape, low, high) => Some((shape, *low, *high)),
        _ => None,
    });
    for (id, (shape, low, high)) in inputs.iter().zip(floats) {
        let name = &graph.value(*id).name;
        let (_, baseline) = program.baselines.iter().find(|(input, _)| input == name).unwrap();
        for to in [name, baseline] {
            let values = spread(shape, low, high, &mut seed);
            let array = ndarray::ArrayD::from_shape_vec(shape.clone(), values).unwrap();
            fed.push((program.graph.find(to).unwrap(), Array::Float(array)));
        }
    }
    let names = [Some(&program.score), program.baseline_score.as_ref()].into_iter().flatten();
    let names = names.chain(program.attributions.iter().map(|(_, output)| output));
    let wanted: Vec<_> = names.map(|name| program.graph.find(name).unwrap()).collect();
    let out = run(&program.graph, &fed, &wanted).unwrap();
    let float = |index: usize| out[index].as_float().unwrap();
    let size: f64 = (2..out.len()).flat_map(|index| float(index).iter()).map(|value| value.abs()).sum();
    let sum: f64 = (2..out.len()).map(|index| float(index).sum()).sum();
    let difference = float(0)[[0]] - float(1)[[0]];
    Ok((difference != 0.0).then(|| (difference - sum).abs() / size))
}

fn failures(method: &Method, tolerance: f64) -> (Vec<String>, BTreeSet<String>, usize) {
    let (mut failures, mut refused, mut passed) = (Vec::new(), BTreeSet::new(), 0);
    for case in cases::all().iter().filter(|case| !case.flat) {
        match gap(case, method) {
            Ok(Some(gap)) if gap <= tolerance => passed += 1,
            Ok(None) => {}
            Ok(Some(gap)) => {
                failures.push(format!("{} {:?}: the gap is {gap}", case.operator, case.attributes));
            }
            Err(CompileError::Unsupported(offences)) => {
                refused.extend(offences.into_iter().map(|offence| offence.operator));
            }
            Err(error) => failures.push(format!("{}: {error}", case.operator)),
        }
    }
    (failures, refused, passed)
}

#[test]
fn differences_are_exact_through_every_operator() {
    let (failures, refused, passed) = failures(&deeplift(), 1e-9);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(refused.iter().map(String::as_str).collect::<Vec<_>>(), REFUSED);
    assert!(passed > 150, "{passed}");
}

/// The rule, but what it passes is scaled by a millionth too much.
#[derive(Debug)]
struct TooMuch;

impl Rule for TooMuch {
    fn name(&self) -> &'static str {
        "too-much"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>, CompileError> {
        let found = pellucid_compile::rules::Rescale.backward(step)?;
        Ok(found.into_iter().map(|signal| signal.map(|signal: Var<'g>| signal * 1.000_001)).collect())
    }

    fn compares(&self) -> bool {
        true
    }
}

#[test]
fn sabotaged_differences_are_caught() {
    let sabotaged = Method { rules: RuleMap::GRADIENT.with(When::Always, TooMuch), ..deeplift() };
    let (_, _, honestly) = failures(&deeplift(), 1e-9);
    let (_, _, passed) = failures(&sabotaged, 1e-9);
    // A case or two has values that nearly cancel.
    assert!(passed * 50 < honestly, "a factor of 1.000001 passes {passed} of {honestly} times");
}

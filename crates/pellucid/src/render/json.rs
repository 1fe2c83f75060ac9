//! An explanation as JSON: everything that is known, in the order in which people ask.

use ndarray::ArrayD;
use serde_json::{Map, Number, Value, json};

use super::words;
use crate::array::Array;
use crate::attribution::{Class, Explanation, Prediction, Target};
use crate::compare::Comparison;
use crate::error::Error;
use crate::inspect::{FullLayer, Inspection, StrongExample, Strongest, StrongestUnit, Trace};
use crate::stream::{Streamed, StreamedPrediction};

/// Whether attributions themselves are written, or their shape only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Shape and numbers, in row-major order.
    Whole,
    /// Shape only.
    Left,
}

/// Classes that are listed for a row.
const LISTED: usize = 5;

/// An explanation as a JSON object.
pub fn explanation(explanation: &Explanation, values: Values) -> Value {
    let rows: Vec<Value> = (0..explanation.rows()).map(|row| row_of(explanation, row, values)).collect();
    let settings: Map<String, Value> = explanation
        .settings
        .iter()
        .map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())))
        .collect();
    let evaluations: Vec<u64> =
        explanation.explained.iter().map(|explained| explained.attribution.evaluations).collect();
    json!({
        "model": explanation.model,
        "method": {
            "name": explanation.method.name,
            "summary": explanation.method.summary,
            "source": explanation.method.source,
        },
        "layer": explanation.layer,
        "neuron": explanation.neuron,
        "baseline": explanation.baseline,
        "rows": rows,
        "evaluations": evaluations.iter().sum::<u64>(),
        "settings": settings,
        "command": explanation.command,
        "notes": explanation.notes,
        "engine": explanation.engine,
        "pellucid": explanation.version,
    })
}

/// A prediction as a JSON object; `rows` are the names of its rows.
pub fn prediction(model: &str, prediction: &Prediction, rows: &[&str], values: Values) -> Value {
    let listed: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(row, name)| json!({ "input": name, "top": top(prediction, row) }))
        .collect();
    let outputs: Map<String, Value> =
        prediction.outputs.iter().map(|(name, output)| (name.clone(), of_array(output, values))).collect();
    json!({ "model": model, "unit": prediction.unit, "rows": listed, "outputs": outputs })
}

/// How one number came to be.
pub fn trace(trace: &Trace) -> Result<Value, Error> {
    serde_json::to_value(trace).map_err(|error| Error::Internal(error.to_string()))
}

/// Every neuron of every layer of single numbers.
pub fn full(layers: &[FullLayer], judged: Option<(&'static str, f64)>) -> Result<Value, Error> {
    let layers = serde_json::to_value(layers).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(match judged {
        Some((by, value)) => json!({ "layers": layers, "by": by, "objective": value }),
        None => json!({ "layers": layers }),
    })
}

/// The examples that excite units most, without their pictures.
pub fn strongest(strongest: &Strongest) -> Value {
    let example = |example: &StrongExample| {
        json!({
            "row": example.row, "name": example.name, "value": example.value, "position": example.position,
            "patch": example.patch.map(|(left, top, width, height)| [left, top, width, height]),
        })
    };
    let unit = |unit: &StrongestUnit| {
        let examples: Vec<Value> = unit.examples.iter().map(example).collect();
        json!({ "unit": unit.unit, "label": unit.label, "examples": examples })
    };
    let units: Vec<Value> = strongest.units.iter().map(unit).collect();
    json!({ "model": strongest.model, "layer": strongest.layer, "rows": strongest.rows, "units": units })
}

/// What was seen inside a model: `layers[]` with `name`, `activation` and `error` statistics, `weights[]`, `inputs[]`,
/// `faults[]`.
pub fn inspection(inspection: &Inspection) -> Result<Value, Error> {
    serde_json::to_value(inspection).map_err(|error| Error::Internal(error.to_string()))
}

/// A comparison: what every method says, without its numbers, what it cost, and how alike every two are.
pub fn comparison(comparison: &Comparison) -> Value {
    let methods: Vec<Value> = comparison
        .methods
        .iter()
        .map(|method| {
            let mut told = explanation(&method.explanation, Values::Left);
            told["name"] = json!(method.name);
            told["seconds"] = json!(method.seconds);
            told
        })
        .collect();
    let inputs: Vec<&str> = comparison
        .methods
        .first()
        .map(|method| method.explanation.inputs.rows().iter().map(|row| row.name.as_str()).collect())
        .unwrap_or_default();
    let correlations: Vec<Value> = comparison
        .correlations
        .iter()
        .map(|found| {
            let rows: Vec<Value> = (inputs.iter().zip(&found.signed).zip(&found.absolute))
                .map(|((input, signed), absolute)| json!({ "input": input, "signed": signed, "absolute": absolute }))
                .collect();
            json!({
                "first": comparison.methods[found.first].name,
                "second": comparison.methods[found.second].name,
                "signed": found.mean_signed(),
                "absolute": found.mean_absolute(),
                "rows": rows,
            })
        })
        .collect();
    json!({ "methods": methods, "correlations": correlations, "command": comparison.command })
}

/// What is known of rows that were written to files: the first ones without their numbers, how many there are, and
/// how far they can be trusted.
pub fn streamed(streamed: &Streamed) -> Value {
    let mut told = explanation(&streamed.first, Values::Left);
    told["rows_in_all"] = json!(streamed.rows);
    told["trust"] = json!(streamed.trust);
    told
}

/// What is known of predictions that were written to files: the first ones without their numbers, and how many there
/// are.
pub fn streamed_prediction(model: &str, streamed: &StreamedPrediction) -> Value {
    let names: Vec<&str> = streamed.names.iter().map(String::as_str).collect();
    let mut told = prediction(model, &streamed.first, &names, Values::Left);
    told["rows_in_all"] = json!(streamed.rows);
    told
}

fn row_of(explanation: &Explanation, row: usize, values: Values) -> Value {
    let targets: Vec<Value> = explanation
        .explained
        .iter()
        .map(|explained| {
            let attribution = &explained.attribution;
            let verdict = words::verdict(explained, row);
            let mut told = Map::new();
            told.insert("target".to_owned(), target(&explained.targets[row]));
            told.insert("score".to_owned(), number(attribution.score[row]));
            told.insert("unit".to_owned(), json!(attribution.unit));
            let checks = [
                ("baseline_score", &attribution.baseline_score),
                ("gap", &attribution.gap),
                ("quadrature_error", &attribution.quadrature_error),
            ];
            for (key, check) in checks {
                if let Some(check) = check {
                    told.insert(key.to_owned(), number(check[row]));
                }
            }
            told.insert(
                "trust".to_owned(),
                json!({ "verdict": verdict.trust.name(), "headline": verdict.headline, "reasons": verdict.reasons }),
            );
            let inputs: Map<String, Value> = attribution
                .values
                .iter()
                .enumerate()
                .map(|(index, (name, _))| {
                    (name.clone(), of_floats(&attribution.row(index, row).to_owned(), values))
                })
                .collect();
            told.insert("attribution".to_owned(), Value::Object(inputs));
            Value::Object(told)
        })
        .collect();
    json!({
        "input": explanation.inputs.rows()[row].name,
        "top": top(&explanation.prediction, row),
        "explained": targets,
    })
}

fn top(prediction: &Prediction, row: usize) -> Vec<Value> {
    prediction.top(row, LISTED).iter().map(class).collect()
}

fn class(class: &Class) -> Value {
    let mut told = Map::new();
    told.insert("index".to_owned(), json!(class.index));
    if let Some(label) = &class.label {
        told.insert("label".to_owned(), json!(label));
    }
    told.insert("score".to_owned(), number(class.score));
    if let Some(probability) = class.probability {
        told.insert("probability".to_owned(), number(probability));
    }
    Value::Object(told)
}

fn target(target: &Target) -> Value {
    let mut told = Map::new();
    if let Some(neuron) = &target.neuron {
        told.insert("neuron".to_owned(), json!(neuron));
        return Value::Object(told);
    }
    told.insert("index".to_owned(), json!(target.index));
    if let Some(label) = &target.label {
        told.insert("label".to_owned(), json!(label));
    }
    if let Some(minus) = &target.minus {
        told.insert("minus".to_owned(), self::target(minus));
    }
    Value::Object(told)
}

fn of_array(array: &Array, values: Values) -> Value {
    match array {
        Array::I64(array) => {
            shaped(array.shape(), values, || array.iter().map(|value| json!(value)).collect())
        }
        Array::Bool(array) => {
            shaped(array.shape(), values, || array.iter().map(|value| json!(value)).collect())
        }
        other => of_floats(&other.to_f32(), values),
    }
}

fn of_floats(array: &ArrayD<f32>, values: Values) -> Value {
    shaped(array.shape(), values, || array.iter().map(|value| number(*value)).collect())
}

fn shaped(shape: &[usize], values: Values, data: impl FnOnce() -> Vec<Value>) -> Value {
    match values {
        Values::Whole => json!({ "shape": shape, "data": data() }),
        Values::Left => json!({ "shape": shape }),
    }
}

/// The shortest decimal that reads back as the same `float32`; JSON has no NaN, which becomes null.
fn number(value: f32) -> Value {
    value.to_string().parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::super::example::{invented, of_photograph, photograph};
    use super::*;

    #[test]
    fn everything_is_there_in_numbers_that_read_back() {
        let example = of_photograph("a.png", photograph(40, 30), 8, invented(8, true));
        let value = explanation(&example, Values::Whole);
        let row = &value["rows"][0];
        assert_eq!(row["input"], "a.png");
        assert_eq!(row["top"][0]["label"], "Egyptian cat");
        let told = &row["explained"][0];
        assert_eq!(told["target"], json!({ "index": 285, "label": "Egyptian cat" }));
        assert_eq!(told["gap"].to_string(), "0.0312");
        assert_eq!(told["unit"], "logit");
        assert_eq!(told["attribution"]["image"]["shape"], json!([3, 8, 8]));
        let data = told["attribution"]["image"]["data"].as_array().unwrap();
        let values: Vec<f32> = data.iter().map(|value| value.to_string().parse().unwrap()).collect();
        let expected: Vec<f32> = example.explained[0].attribution.row(0, 0).iter().copied().collect();
        assert_eq!(values, expected);
        assert_eq!(value["settings"].as_object().unwrap().keys().next().unwrap(), "method");
        let short = explanation(&example, Values::Left);
        assert!(short["rows"][0]["explained"][0]["attribution"]["image"].get("data").is_none());
        assert_eq!(number(f32::NAN), Value::Null);
    }
}

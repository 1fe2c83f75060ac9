//! A verification as text and as JSON.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::{Compared, Difference, Parting, Verification};

/// The outcome in words.
pub(super) fn verdict(found: &Verification) -> String {
    if found.engines.is_empty() {
        return format!("only {} ran: there is nothing to compare it with", found.measure);
    }
    let failed = found.rounding.parts().into_iter().filter(|(_, difference)| difference.value().is_none());
    let missing: Vec<&str> = failed.map(|(name, _)| name).collect();
    let mut text = if found.agree {
        let mut names = vec![found.measure.as_str()];
        names.extend(found.engines.iter().map(|engine| engine.name.as_str()));
        let last = names.pop().unwrap_or_default();
        format!("{} and {last} agree within what float32 rounding does to this model", names.join(", "))
    } else {
        found.partings.iter().map(|parting| sentence(parting, &found.measure)).collect::<Vec<_>>().join("; ")
    };
    if !missing.is_empty() {
        // Writing to a String never fails.
        let _ = write!(text, "; no engine gives its {}", missing.join(" or "));
    }
    text
}

fn sentence(parting: &Parting, measure: &str) -> String {
    let mut text =
        format!("{} parts from {measure} in the {} beyond rounding", parting.engine, parting.quantity);
    match &parting.node {
        Some(place) => {
            let whose = if place.of_model { "the model" } else { "its derivative" };
            let named = if place.node.is_empty() { String::new() } else { format!(" {:?}", place.node) };
            let _ = write!(
                text,
                ", first at {} node{named} of {whose}, whose value {:?} differs by {:.1e}",
                place.operator, place.value, place.difference
            );
        }
        None => text.push_str(", at no single node"),
    }
    text
}

fn cell(difference: &Difference) -> String {
    match difference {
        Difference::Relative(value) if *value == 0.0 => "0".to_owned(),
        Difference::Relative(value) => format!("{value:.1e}"),
        Difference::Failed(_) => "none".to_owned(),
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}: relative differences from {}", self.model, self.inputs, self.measure)?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<14} {:>10} {:>10} {:>11} {:>9}",
            "engine", "prediction", "gradient", "attribution", "seconds"
        )?;
        for row in self.engines.iter().chain([&self.rounding]) {
            writeln!(
                f,
                "{:<14} {:>10} {:>10} {:>11} {:>9.2}",
                row.name,
                cell(&row.prediction),
                cell(&row.gradient),
                cell(&row.attribution),
                row.seconds
            )?;
        }
        writeln!(f)?;
        for row in self.engines.iter().chain([&self.rounding]) {
            for (name, difference) in row.parts() {
                if let Difference::Failed(problem) = difference {
                    writeln!(f, "no {name} on {}: {problem}", row.name)?;
                }
            }
        }
        for (name, reason) in &self.skipped {
            writeln!(f, "not run: {name}: {reason}")?;
        }
        write!(f, "{}", self.verdict)
    }
}

impl Verification {
    /// The same as JSON: `model`, `inputs`, `measure`, `engines` and `rounding` with `prediction`, `gradient`,
    /// `attribution` (a number, or `null` with the reason in `problems`) and `seconds`, `skipped`, `partings`, `agree`,
    /// `verdict`.
    pub fn to_json(&self) -> Value {
        let skipped: Vec<Value> = self
            .skipped
            .iter()
            .map(|(engine, reason)| json!({ "engine": engine, "reason": reason }))
            .collect();
        let partings: Vec<Value> = self
            .partings
            .iter()
            .map(|parting| {
                let node = parting.node.as_ref().map(|place| {
                    json!({
                        "value": place.value,
                        "node": place.node,
                        "operator": place.operator,
                        "of_model": place.of_model,
                        "difference": number(place.difference),
                    })
                });
                json!({ "engine": parting.engine, "quantity": parting.quantity, "node": node })
            })
            .collect();
        json!({
            "model": self.model,
            "inputs": self.inputs,
            "measure": self.measure,
            "engines": self.engines.iter().map(row).collect::<Vec<_>>(),
            "rounding": row(&self.rounding),
            "skipped": skipped,
            "partings": partings,
            "agree": self.agree,
            "verdict": self.verdict,
        })
    }
}

/// JSON has no infinity: what differs in shape or in being finite is told as a string.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!("infinite") }
}

fn row(row: &Compared) -> Value {
    let value = |difference: &Difference| difference.value().map_or(Value::Null, number);
    let problems: Vec<Value> = row
        .parts()
        .into_iter()
        .filter_map(|(name, difference)| match difference {
            Difference::Failed(problem) => Some(json!({ "of": name, "problem": problem })),
            Difference::Relative(_) => None,
        })
        .collect();
    json!({
        "name": row.name,
        "prediction": value(&row.prediction),
        "gradient": value(&row.gradient),
        "attribution": value(&row.attribution),
        "seconds": row.seconds,
        "problems": problems,
    })
}

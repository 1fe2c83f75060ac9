//! A file of rules: which rule of relevance meets which node, before the method's own.
//!
//! ```toml
//! [[rule]]
//! layer = "features.0*"
//! use = "z-box"
//! low = [-2.1, -2.0, -1.8]
//! high = [2.2, 2.4, 2.6]
//!
//! [[rule]]
//! kind = "convolution"
//! depth = [0, 3]
//! use = "gamma"
//! gamma = 0.5
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use pellucid_compile::rules::{Choice, When, kind_named, rule_named};
use serde::Deserialize;
use toml::{Spanned, Value};

use crate::error::Error;
use crate::file;

/// Most bytes of a file of rules.
const FILE_BYTES: u64 = 1 << 20;

/// Keys that say where a rule applies.
const WHERE: [&str; 4] = ["layer", "kind", "depth", "first"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Spanned<BTreeMap<Spanned<String>, Spanned<Value>>>>,
}

/// Reads the choices that a file holds, in its order.
///
/// # Errors
/// Files that cannot be read, and what is wrong in them: the line, what was found, and what was expected.
pub(crate) fn read(path: &Path) -> Result<Vec<Choice>, Error> {
    let bytes = file::read(path, FILE_BYTES)?;
    let place = path.display().to_string();
    let text =
        String::from_utf8(bytes).map_err(|_| wrong(&place, "it is no text: expected UTF-8".to_owned()))?;
    parse(&place, &text)
}

fn wrong(place: &str, problem: String) -> Error {
    Error::Setting { name: place.to_owned(), problem }
}

/// The choices of a text; `place` names it in errors.
pub(crate) fn parse(place: &str, text: &str) -> Result<Vec<Choice>, Error> {
    let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
    let at = |offset: usize, problem: &str| wrong(place, format!("line {}: {problem}", line(offset)));
    let file: File = toml::from_str(text).map_err(|error| {
        let problem = format!(
            "{}: expected tables [[rule]] with use, and where it applies: {}",
            error.message(),
            WHERE.join(", ")
        );
        at(error.span().map_or(0, |span| span.start), &problem)
    })?;
    let mut choices = Vec::new();
    for table in &file.rule {
        let mut when = Vec::new();
        let mut parameters = BTreeMap::new();
        let mut name = None;
        for (key, value) in table.get_ref() {
            let start = key.span().start;
            let refused = |problem: String| at(start, &problem);
            let value = value.get_ref();
            match key.get_ref().as_str() {
                "use" => name = Some((text_of("use", value).map_err(refused)?, start)),
                "layer" => when.push(When::Named(text_of("layer", value).map_err(refused)?.to_owned())),
                "kind" => when.push(kind_named(text_of("kind", value).map_err(refused)?).map_err(refused)?),
                "depth" => when.push(When::Depth(depth(value).map_err(refused)?)),
                "first" => match value {
                    Value::Boolean(true) => when.push(When::All(vec![When::First, When::Layer])),
                    _ => {
                        return Err(refused(format!(
                            "first is {}: expected true, or leave it out",
                            told(value)
                        )));
                    }
                },
                other => {
                    parameters.insert(other.to_owned(), numbers(other, value).map_err(refused)?);
                }
            }
        }
        let Some((name, start)) = name else {
            return Err(at(table.span().start, "this [[rule]] has no key use: expected the name of a rule"));
        };
        let rule = rule_named(name, &parameters).map_err(|problem| at(start, &problem))?;
        choices.push(Choice { when: When::All(when), rule });
    }
    Ok(choices)
}

/// A value as it is written.
fn told(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(whole) => whole.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(told).collect::<Vec<_>>().join(", ")),
        Value::Datetime(date) => date.to_string(),
        Value::Table(_) => "a table".to_owned(),
    }
}

fn text_of<'a>(key: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{key} is {}: expected a text in quotes", told(value)))
}

fn numbers(key: &str, value: &Value) -> Result<Vec<f64>, String> {
    let list = match value {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let number = |value: &Value| match value {
        #[expect(clippy::cast_precision_loss, reason = "parameters are small")]
        Value::Integer(whole) => Some(*whole as f64),
        Value::Float(number) if number.is_finite() => Some(*number),
        _ => None,
    };
    list.iter()
        .map(number)
        .collect::<Option<Vec<f64>>>()
        .filter(|list| !list.is_empty())
        .ok_or_else(|| format!("{key} is {}: expected a number, or a list of numbers", told(value)))
}

/// One depth, or the first and the last of a range.
fn depth(value: &Value) -> Result<std::ops::RangeInclusive<usize>, String> {
    let whole = |value: &Value| value.as_integer().and_then(|whole| usize::try_from(whole).ok());
    let found = match value {
        Value::Array(ends) => match &ends[..] {
            [first, last] => whole(first).zip(whole(last)).filter(|(first, last)| first <= last),
            _ => None,
        },
        one => whole(one).map(|depth| (depth, depth)),
    };
    found.map(|(first, last)| first..=last).ok_or_else(|| {
        format!(
            "depth is {}: expected a number of layers before the node, or the first and last such as [0, 3]",
            told(value)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse("my.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn choices_keep_their_order_and_parameters() {
        let text = "[[rule]]\nlayer = \"features.0*\"\nuse = \"z-box\"\nlow = [-2, -1.5, -1]\nhigh = 2.5\n\n\
                    [[rule]]\nkind = \"convolution\"\ndepth = [0, 3]\nuse = \"gamma\"\ngamma = 0.5\n\n\
                    [[rule]]\nfirst = true\nuse = \"flat\"\n";
        let found = parse("my.toml", text).unwrap();
        let rules: Vec<String> = found.iter().map(|choice| choice.rule.describe()).collect();
        assert_eq!(rules, ["z-box(low=-2,-1.5,-1, high=2.5)", "gamma(gamma=0.5)", "flat"]);
        assert_eq!(found[0].when, When::All(vec![When::Named("features.0*".to_owned())]));
    }

    #[test]
    fn errors_name_the_line_and_what_is_expected() {
        assert_eq!(
            problem("[[rule]]\nkind = \"convolutoin\"\nuse = \"flat\"\n"),
            "my.toml: line 2: kind \"convolutoin\" is not known; did you mean \"convolution\"? expected one of bilinear, \
             convolution, dense, difference, elementwise, flat, gate, layer, linear, move, normaliser, pooling, \
             quotient, rectifier, saturating, scale, select, sum, weights"
        );
        assert_eq!(
            problem("\n[[rule]]\nuse = \"gama\"\n"),
            "my.toml: line 3: rule \"gama\" is not known; did you mean \"gamma\"? expected one of alpha-beta, epsilon, \
             flat, gamma, gate, gradient, norm, pass, w-square, z-box, z-plus"
        );
        assert_eq!(
            problem("[[rule]]\nuse = \"flat\"\ngamma = 1\n"),
            "my.toml: line 2: parameter of flat \"gamma\" is not known; expected one of stabilizer"
        );
        assert_eq!(
            problem("[[rule]]\nuse = \"gamma\"\ngamma = \"big\"\n"),
            "my.toml: line 3: gamma is \"big\": expected a number, or a list of numbers"
        );
        assert_eq!(
            problem("[[rule]]\nuse = \"alpha-beta\"\nalpha = 2\nbeta = 2\n"),
            "my.toml: line 2: alpha is 2 and beta 2: expected alpha − beta = 1"
        );
        assert!(problem("[[rule]]\nkind = \"dense\"\n").contains("line 1: this [[rule]] has no key use"));
        assert!(problem("[[rule]]\ndepth = [3, 1]\nuse = \"flat\"\n").contains("line 2: depth is"));
        assert!(problem("rules = 3\n").contains("line 1"));
        assert!(problem("[[rule]\n").contains("line 1"));
    }
}

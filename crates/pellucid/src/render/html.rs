//! The report: one HTML file that needs nothing else, for every row of an explanation.

use std::fmt::Write as _;

use super::colour::ColourMap;
use super::heat::{Drawn, HeatMap, draw_row};
use super::picture::{self, Ground};
use super::scene::{Theme, data_uri, escape, jpeg, png, png_with_alpha};
use super::template::fill;
use super::words::{self, Trust, number, percent};
use super::{figure, grid};
use crate::attribution::{Class, Explained, Explanation, Target, Unit};
use crate::compare::Comparison;
use crate::error::Error;

/// Classes that are listed.
const LISTED: usize = 5;

/// The report on every row.
pub(super) fn report(explanation: &Explanation) -> Result<String, Error> {
    let rows = explanation.rows();
    let headline = headline(explanation);
    let mut articles = String::new();
    for row in 0..rows {
        articles += &article(explanation, row)?;
    }
    let mut settings = String::new();
    let facts = [
        ("layer", explanation.layer.as_deref()),
        ("neuron", explanation.neuron.as_deref()),
        ("baseline", explanation.baseline.as_deref()),
    ];
    let facts = facts.into_iter().filter_map(|(key, value)| value.map(|value| (key, value)));
    let told = explanation.settings.iter().filter(|(key, _)| !matches!(*key, "layer" | "baseline"));
    for (key, value) in told.chain(facts) {
        let _ =
            writeln!(settings, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(key), escape(value));
    }
    let mut notes = String::new();
    if !explanation.notes.is_empty() {
        let items: Vec<String> =
            explanation.notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
        notes = format!("<ul class=\"notes\">\n{}\n</ul>", items.join("\n"));
    }
    let lead = match rows {
        1 => format!(
            "{} on {}, explained by {}.",
            explanation.model,
            explanation.inputs.rows()[0].name,
            explanation.method.name
        ),
        _ => format!("{} on {rows} inputs, explained by {}.", explanation.model, explanation.method.name),
    };
    Ok(fill(
        include_str!("report/page.html"),
        &[
            ("title", &format!("{headline} – Pellucid")),
            ("style", include_str!("report/report.css")),
            ("script", include_str!("report/report.js")),
            ("headline", &headline),
            ("lead", &lead),
            ("contents", &contents(explanation)),
            ("rows", &articles),
            ("method", &explanation.method.name),
            ("summary", &explanation.method.summary),
            ("source", &explanation.method.source),
            ("notes", &notes),
            ("settings", &settings),
            ("command", &command(&explanation.command)),
            ("engine", &explanation.engine),
            ("version", &explanation.version),
        ],
    ))
}

/// The page of a comparison: the grid, and what each method cost.
pub(super) fn comparison(comparison: &Comparison) -> Result<String, Error> {
    let first = &comparison.methods[0].explanation;
    let (mut methods, mut notes) = (String::new(), Vec::new());
    for method in &comparison.methods {
        let explanation = &method.explanation;
        let settings: Vec<String> =
            explanation.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let evaluations = explanation.explained[0].attribution.evaluations.to_string();
        let seconds = format!("{:.2}", method.seconds);
        let cells =
            [&method.name, &settings.join(", "), &evaluations, &seconds, &words::gap_share(explanation)];
        let cells = cells.map(|cell| format!("<td>{}</td>", escape(cell)));
        let _ = writeln!(methods, "<tr>{}</tr>", cells.concat());
        for note in &explanation.notes {
            let note = format!("<li>{}: {}</li>", escape(&method.name), escape(note));
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    let names: Vec<&str> = comparison.methods.iter().map(|method| method.name.as_str()).collect();
    let notes =
        if notes.is_empty() { String::new() } else { format!("<ul class=\"notes\">{}</ul>", notes.concat()) };
    Ok(fill(
        include_str!("report/compare.html"),
        &[
            ("style", include_str!("report/report.css")),
            ("headline", &format!("{} methods compared", names.len())),
            (
                "lead",
                &format!(
                    "{} on {} inputs, explained by {}.",
                    first.model,
                    comparison.rows(),
                    names.join(", ")
                ),
            ),
            ("grid", &grid::grid(comparison).to_svg(Theme::Page)?),
            ("methods", &methods),
            ("notes", &notes),
            ("command", &command(&comparison.command)),
            ("engine", &first.engine),
            ("version", &first.version),
        ],
    ))
}

/// The command line that reproduces it, where there is one.
fn command(command: &str) -> String {
    match command {
        "" => String::new(),
        command => fill(include_str!("report/command.html"), &[("command", command)]),
    }
}

fn headline(explanation: &Explanation) -> String {
    if explanation.rows() > 1 {
        return format!("What decided {} predictions", explanation.rows());
    }
    let targets: Vec<String> =
        explanation.explained.iter().map(|explained| format!("“{}”", explained.targets[0])).collect();
    match targets.split_last() {
        Some((last, [])) => format!("What speaks for {last}"),
        Some((last, others)) => format!("What speaks for {} and {last}", others.join(", ")),
        None => "What decided".to_owned(),
    }
}

/// Links to the rows, where there are several.
fn contents(explanation: &Explanation) -> String {
    if explanation.rows() < 2 {
        return String::new();
    }
    let links: Vec<String> = explanation
        .inputs
        .rows()
        .iter()
        .enumerate()
        .map(|(row, known)| format!("<li><a href=\"#row-{}\">{}</a></li>", row + 1, escape(&known.name)))
        .collect();
    format!("<nav aria-label=\"Inputs\"><ul class=\"contents\">\n{}\n</ul></nav>", links.join("\n"))
}

fn article(explanation: &Explanation, row: usize) -> Result<String, Error> {
    let name = &explanation.inputs.rows()[row].name;
    let (mut figures, mut checks) = (String::new(), String::new());
    for explained in &explanation.explained {
        for index in 0..explained.attribution.values.len() {
            figures += &shown(explanation, explained, index, row)?;
        }
        checks += &told(explanation, explained, row);
    }
    let heading = if explanation.rows() > 1 { format!("<h2>{}</h2>", escape(name)) } else { String::new() };
    let prediction = &explanation.prediction;
    let unit = match prediction.unit {
        Unit::Logit => "Probabilities are the softmax of the logits.",
        Unit::Probability => "The model gives probabilities.",
        Unit::Raw => "The model gives plain numbers, no probabilities.",
    };
    Ok(fill(
        include_str!("report/row.html"),
        &[
            ("number", &(row + 1).to_string()),
            ("name", name),
            ("heading", &heading),
            ("figures", &figures),
            ("classes", &classes(explanation, row)),
            ("unit", unit),
            ("checks", &checks),
        ],
    ))
}

/// The best classes with bars; targets that are not among them follow.
fn classes(explanation: &Explanation, row: usize) -> String {
    let prediction = &explanation.prediction;
    let all = prediction.top(row, usize::MAX);
    let is_target = |class: &Class| {
        explanation.explained.iter().any(|explained| explained.targets[row].class() == Some(class.index))
    };
    let largest = all.iter().map(|class| class.score.abs()).fold(f32::MIN_POSITIVE, f32::max);
    let listed = all.iter().enumerate().filter(|(place, class)| *place < LISTED || is_target(class));
    let mut items = String::new();
    for (_, class) in listed {
        let chosen = is_target(class);
        let (value, part) = match class.probability {
            Some(probability) => (percent(probability), probability),
            None => (number(class.score), class.score.abs() / largest),
        };
        let tag = if chosen { "<span class=\"tag\">explained</span>" } else { "" };
        let _ = writeln!(
            items,
            "<li{}><div class=\"line\"><span class=\"name\">{}{tag}</span><span class=\"value\" title=\"score {}\">{}\
             </span></div><div class=\"bar\" aria-hidden=\"true\"><i style=\"width: {:.1}%\"></i></div></li>",
            if chosen { " class=\"chosen\"" } else { "" },
            escape(&class.name()),
            number(class.score),
            escape(&value),
            (part * 100.0).clamp(0.0, 100.0)
        );
    }
    items
}

/// The figure of one target and input.
fn shown(
    explanation: &Explanation,
    explained: &Explained,
    index: usize,
    row: usize,
) -> Result<String, Error> {
    let target = &explained.targets[row];
    let (input, _) = &explained.attribution.values[index];
    let place = match &explanation.layer {
        Some(layer) => format!("at {layer}"),
        None if explanation.inputs.arrays().len() > 1 => format!("in input {input}"),
        None => String::new(),
    };
    match draw_row(explanation, explained, index, row) {
        Drawn::Map(map) => stage(explanation, target, &place, input, &map, row),
        drawn => {
            let chart = figure::chart(explanation, explained, index, &drawn, row).to_svg(Theme::Page)?;
            Ok(fill(
                include_str!("report/chart.html"),
                &[("target", &target.to_string()), ("where", &place), ("chart", &chart)],
            ))
        }
    }
}

fn stage(
    explanation: &Explanation,
    target: &Target,
    place: &str,
    input: &str,
    map: &HeatMap,
    row: usize,
) -> Result<String, Error> {
    let name = &explanation.inputs.rows()[row].name;
    let ground = Ground::new((&explanation.inputs, &explanation.spaces), row, input, map);
    let (width, height) = ground.picture.dimensions();
    let (left, top, view_width, view_height) = ground.view;
    let part = |length: u32, of: u32| 100.0 * f64::from(length) / f64::from(of);
    let place_of_view = format!(
        "left: {:.3}%; top: {:.3}%; width: {:.3}%; height: {:.3}%{}",
        part(left, width),
        part(top, height),
        part(view_width, width),
        part(view_height, height),
        if ground.keeps_edges() { "; image-rendering: pixelated" } else { "" }
    );
    let frame = if ground.is_cropped() {
        format!("<div class=\"frame\" style=\"{place_of_view}\"></div>")
    } else {
        String::new()
    };
    let (layer, alone) = ground.layers(map);
    let (against, for_it) = words::ends(target);
    let limit = number(map.limit);
    let (low, middle, high) = match map.colours {
        ColourMap::BlueWhiteRed => (format!("−{limit} {against}"), "0", format!("{for_it} {limit}")),
        ColourMap::Cividis => ("0".to_owned(), "", format!("{for_it} {limit}")),
    };
    let colours = match map.colours {
        ColourMap::BlueWhiteRed => "from blue, against, over white, neither, to red, for it",
        ColourMap::Cividis => "from dark blue, nothing, to yellow, much",
    };
    let ground_alt = if ground.is_photograph {
        format!("The photograph {name}")
    } else {
        format!("The input {input} of {name} in grey, stretched from its lowest to its highest value")
    };
    let ground_uri = if ground.is_photograph {
        data_uri("image/jpeg", &jpeg(&ground.picture)?)
    } else {
        data_uri("image/png", &png(&ground.picture)?)
    };
    Ok(fill(
        include_str!("report/stage.html"),
        &[
            ("target", &target.to_string()),
            ("where", place),
            ("width", &width.to_string()),
            ("height", &height.to_string()),
            ("ground", &ground_uri),
            ("ground_alt", &ground_alt),
            ("overlay", &data_uri("image/png", &png_with_alpha(&layer)?)),
            ("overlay_alt", &format!("Heatmap of what speaks for and against {target}, {}", most(map))),
            ("view", &place_of_view),
            ("frame", &frame),
            ("scale", &data_uri("image/png", &png(&picture::scale(map.colours))?)),
            ("scale_alt", &format!("Scale of colours {colours}")),
            ("low", &low),
            ("middle", middle),
            ("high", &high),
            ("caption", &figure::how_drawn(map, &ground)),
            ("alone", &data_uri("image/png", &png(&alone)?)),
            ("alone_alt", &format!("The heatmap for {target} without the photograph")),
        ],
    ))
}

/// Where most of a map lies, for those who cannot see it.
fn most(map: &HeatMap) -> String {
    let (height, width) = map.values.dim();
    let mut thirds = [[0f64; 3]; 3];
    for ((y, x), value) in map.values.indexed_iter() {
        thirds[3 * y / height][3 * x / width] += f64::from(value.abs());
    }
    let total: f64 = thirds.iter().flatten().sum();
    if total == 0.0 {
        return "zero everywhere".to_owned();
    }
    let rows = ["upper", "middle", "lower"];
    let columns = ["left", "centre", "right"];
    let best = (0..9).max_by(|a, b| thirds[a / 3][a % 3].total_cmp(&thirds[b / 3][b % 3])).unwrap_or(4);
    #[expect(clippy::cast_possible_truncation, reason = "a part of a whole")]
    let part = (thirds[best / 3][best % 3] / total) as f32;
    format!("strongest in the {} {} ninth with {} of it", rows[best / 3], columns[best % 3], percent(part))
}

/// The verdict on one target, and its numbers.
fn told(explanation: &Explanation, explained: &Explained, row: usize) -> String {
    let verdict = words::verdict(explained, row);
    let reasons: Vec<String> =
        verdict.reasons.iter().map(|reason| format!("<p class=\"reason\">{}</p>", escape(reason))).collect();
    let attribution = &explained.attribution;
    let mut numbers = vec![("score".to_owned(), words::score(attribution, row))];
    let mut put = |name: &str, values: Option<&ndarray::Array1<f32>>| {
        if let Some(values) = values {
            numbers.push((name.to_owned(), number(values[row])));
        }
    };
    put("score of the baseline", attribution.baseline_score.as_ref());
    put("completeness gap", attribution.gap.as_ref());
    put("quadrature error", attribution.quadrature_error.as_ref());
    numbers.push(("sum of sizes".to_owned(), number(words::total(attribution, row))));
    let evaluations = match explanation.rows() {
        1 => "model evaluations".to_owned(),
        rows => format!("model evaluations, {rows} inputs"),
    };
    numbers.push((evaluations, attribution.evaluations.to_string()));
    let numbers: Vec<String> = numbers
        .iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)))
        .collect();
    let of = match explanation.explained.len() {
        1 => String::new(),
        _ => format!(": {}", explained.targets[row]),
    };
    let mark = match verdict.trust {
        Trust::Good => "✓",
        Trust::Fair => "≈",
        Trust::Poor => "!",
        Trust::Unchecked => "?",
    };
    fill(
        include_str!("report/checks.html"),
        &[
            ("trust", verdict.trust.name()),
            ("of", &of),
            ("mark", mark),
            ("headline", &verdict.headline),
            ("reasons", &reasons.join("\n")),
            ("numbers", &numbers.join("\n")),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::super::example::{invented, of_photograph, photograph, with_contrast};
    use super::*;

    fn example() -> Explanation {
        of_photograph("a.png", photograph(120, 80), 96, invented(96, true))
    }

    /// Every value of an attribute, quotes taken away.
    fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
        let start = format!(" {name}=\"");
        html.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn the_report_needs_nothing_from_outside() {
        let html = report(&example()).unwrap();
        assert!(attributes(&html, "src").iter().all(|link| link.starts_with("data:image/")));
        assert!(attributes(&html, "href").iter().all(|link| link.starts_with('#')));
        let links = html.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "//www", "@import", "url(", "fetch(", "{{", "}}"] {
            assert!(!links.contains(word), "{word}");
        }
        assert!(html.contains("default-src 'none'"));
    }

    #[test]
    fn everybody_can_read_it() {
        let html = report(&example()).unwrap();
        assert!(html.contains("<html lang=\"en\">") && html.contains("name=\"viewport\""));
        let pictures = html.matches("<img ").count();
        assert_eq!((pictures, attributes(&html, "alt").len()), (4, 4));
        assert!(attributes(&html, "alt").iter().all(|text| text.len() > 10));
        assert!(html.contains("aria-label=\"Opacity of the overlay, in percent\""));
        assert!(html.contains("prefers-color-scheme: dark"));
        for (open, close) in
            [("<section", "</section>"), ("<div", "</div>"), ("<figure", "</figure>"), ("<p", "</p>")]
        {
            let opened =
                html.matches(&format!("{open} ")).count() + html.matches(&format!("{open}>")).count();
            assert_eq!(opened, html.matches(close).count(), "{open}");
        }
    }

    #[test]
    fn it_says_what_was_found() {
        let html = report(&example()).unwrap();
        for text in [
            "<h1>What speaks for “Egyptian cat”</h1>",
            "efficientnet-lite0.onnx on a.png, explained by integrated-gradients.",
            "<span class=\"name\">Egyptian cat<span class=\"tag\">explained</span></span>",
            "Computed closely: compare the sizes of values with confidence.",
            "<dt>completeness gap</dt><dd>0.0312</dd>",
            "<th scope=\"row\">tolerance</th><td>0.01</td>",
            "--set quadrature=adaptive --set tolerance=0.01 --seed 0 -o report.html</code>",
            "The final Softmax was stepped over: scores are logits.",
            "strongest in the middle centre ninth",
        ] {
            assert!(html.contains(text), "{text}");
        }
        assert_eq!(html.matches("<li class=\"chosen\">").count(), 1);
    }

    #[test]
    fn names_from_outside_stay_text() {
        let evil = "<script>alert('x')</script>\"{{style}}";
        let mut explanation = of_photograph(evil, photograph(30, 20), 8, invented(8, true));
        explanation.model = evil.to_owned();
        explanation.method.summary = evil.to_owned();
        explanation.command = evil.to_owned();
        explanation.notes = vec![evil.to_owned()];
        explanation.settings.set(evil, evil);
        explanation.explained[0].targets[0].label = Some(evil.to_owned());
        explanation.layer = Some(evil.to_owned());
        let html = report(&explanation).unwrap();
        assert_eq!(html.matches("<script>").count(), 1, "our own");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;{{style}}"));
    }

    #[test]
    fn several_targets_have_a_figure_and_a_verdict_each() {
        let html = report(&with_contrast(&example())).unwrap();
        assert!(html.contains("What speaks for “Egyptian cat” and “tabby minus tiger cat”"));
        assert_eq!((html.matches("<figure").count(), html.matches("class=\"card verdict").count()), (2, 2));
        assert!(html.contains("How far to trust it: tabby minus tiger cat"));
        assert!(html.contains("for tiger cat</span>") && html.contains("<span>for tabby "));
        assert_eq!(html.matches("<li class=\"chosen\">").count(), 2);
    }

    #[test]
    fn without_a_command_line_nothing_is_said_of_it() {
        let mut explanation = example();
        assert!(report(&explanation).unwrap().contains("To reproduce it"));
        explanation.command.clear();
        assert!(!report(&explanation).unwrap().contains("To reproduce it"));
    }

    #[test]
    fn targets_outside_the_best_five_are_listed_too() {
        let mut explanation = example();
        explanation.explained[0].targets[0] = Target::new(700, None);
        let html = report(&explanation).unwrap();
        assert!(html.contains("class number 700<span class=\"tag\">explained"));
        assert_eq!(html.matches("class=\"bar\"").count(), 6);
    }
}

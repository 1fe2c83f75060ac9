//! The nearest valid name to one that does not exist.

/// The valid name most like `found`, where one is near enough that a slip of the hand explains it.
///
/// Case, hyphens, underscores and spaces do not count; otherwise one slip for every three letters is allowed.
pub fn nearest<'a>(found: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(found);
    let allowed = (wanted.chars().count() / 3).max(1);
    valid
        .into_iter()
        .map(|name| {
            let name_plain = plain(name);
            // A whole word of a longer name is nearer than a slip: "tabby" for "tabby cat".
            let within = wanted.len() >= 3 && name_plain.contains(&wanted);
            let distance = strsim::damerau_levenshtein(&wanted, &name_plain);
            (if within { distance.min(1) } else { distance }, name_plain.len(), name)
        })
        .filter(|(distance, ..)| *distance <= allowed)
        .min_by_key(|(distance, length, _)| (*distance, *length))
        .map(|(_, _, name)| name)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let names = ["gradient", "grad-cam", "integrated-gradients", "Egyptian cat"];
        for (found, expected) in [
            ("Gradient", Some("gradient")),
            ("gradcam", Some("grad-cam")),
            ("integrated_gradient", Some("integrated-gradients")),
            ("egyptian", Some("Egyptian cat")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, names), expected, "{found}");
        }
    }
}

//! Pages that need nothing else: templates with keys, and the frame that every page has.
//!
//! The templates stand in `report/`: `{{key}}` is escaped, `{{{key}}}` is not.

use super::scene::escape;

/// A template with its keys replaced.
///
/// # Panics
/// Where a key of the template has no value: the templates are part of the program, and every one is filled in a test.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let value = |key: &str| {
        values
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| *value)
            .expect("every key has a value")
    };
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        filled += &rest[..start];
        let raw = rest[start..].starts_with("{{{");
        let (open, close) = if raw { (3, "}}}") } else { (2, "}}") };
        let after = &rest[start + open..];
        let end = after.find(close).expect("every key is closed");
        if raw {
            filled += value(&after[..end]);
        } else {
            filled += &escape(value(&after[..end]));
        }
        rest = &after[end + close.len()..];
    }
    filled += rest;
    filled
}

/// A page of sections below a headline. Text is escaped; `style`, `script` and `body` are not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    /// The headline, and the window's title.
    pub(super) headline: &'a str,
    /// A sentence below it.
    pub(super) lead: &'a str,
    /// Rules that follow those of all pages.
    pub(super) style: &'a str,
    /// What runs once the page is there; may be empty.
    pub(super) script: &'a str,
    /// Sections, as HTML.
    pub(super) body: &'a str,
    /// A sentence at the end.
    pub(super) foot: &'a str,
}

impl Page<'_> {
    /// The page.
    pub(super) fn html(&self) -> String {
        let script = match self.script {
            "" => String::new(),
            script => format!("<script>\n{script}</script>\n"),
        };
        fill(
            include_str!("report/shell.html"),
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                ("common", include_str!("report/report.css")),
                ("headline", self.headline),
                ("lead", self.lead),
                ("style", self.style),
                ("script", &script),
                ("body", self.body),
                ("foot", self.foot),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_whole_and_its_texts_stay_text() {
        let evil = "<script>alert(1)</script>{{body}}";
        let page =
            Page { headline: evil, lead: evil, style: ".a { }", script: "", body: "<p>x</p>", foot: evil };
        let html = page.html();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(1)&lt;/script&gt;{{body}}"));
        assert!(
            html.contains("default-src 'none'") && html.contains("<p>x</p>") && html.contains("lang=\"en\"")
        );
        let html = Page { script: "let a = 1;\n", ..page }.html();
        assert_eq!(html.matches("<script>").count(), 1);
    }
}

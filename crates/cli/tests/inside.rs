//! `docs/inside.md` shows what the command prints.

mod page;

use std::path::Path;

#[test]
fn the_page_shows_what_the_command_prints() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens");
    page::holds("inside.md", &page::run("inside.md", &goldens, 6));
}

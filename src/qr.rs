//! QR codes (ISO/IEC 18004) of handshake URLs: a picture for the page, half blocks for terminals.
//!
//! The library encodes and draws; here is only what suits a phone's camera: how much of the code
//! may be unreadable, and the quiet zone of four modules that the standard wants around it.

use qrcode::render::svg;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// A picture in SVG, black on white whatever is around it, a module being one unit; `None` where
/// the text is longer than a QR code takes.
///
/// A quarter of the code may be unreadable (level Q): at the page's size more modules cost
/// nothing, and reflections on a screen hide whole corners.
pub fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::Q).ok()?;
    Some(code.render::<svg::Color<'_>>().module_dimensions(1, 1).build())
}

/// Lines of half blocks, the light modules drawn: they are right where the terminal writes light
/// on dark. `None` as [`svg()`].
///
/// The least correction (level L) makes the smallest code, for terminals are small and show
/// sharp edges.
pub fn half_blocks(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let mut drawing = code.render::<Dense1x2>();
    Some(drawing.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_quiet_zone_and_nothing_that_a_page_forbids() {
        let picture = svg("http://192.0.2.1:15000/").unwrap();
        // Version 3 has 29 modules, and 4 on either side.
        assert!(picture.contains(r#"viewBox="0 0 37 37""#), "{picture}");
        assert!(picture.contains(r##"fill="#fff""##) && picture.contains(r##"fill="#000""##));
        assert!(!picture.contains("style") && !picture.contains("script"));
    }

    #[test]
    fn a_drawing_has_two_modules_a_character_and_light_ones_around() {
        let drawing = half_blocks("http://192.0.2.1:15000/").unwrap();
        let lines: Vec<&str> = drawing.lines().collect();
        // Version 2 has 25 modules, and 4 on either side.
        assert_eq!(lines.len(), 17);
        assert!(lines.iter().all(|line| line.chars().count() == 33), "{drawing}");
        assert!(lines[..2].iter().all(|line| line.chars().all(|c| c == '█')), "{drawing}");
        assert!(drawing.chars().all(|c| "█▀▄ \n".contains(c)), "{drawing}");
    }

    #[test]
    fn a_text_too_long_has_no_code() {
        let long = "x".repeat(3000);
        assert_eq!((svg(&long), half_blocks(&long)), (None, None));
    }
}

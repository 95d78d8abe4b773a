//! A phone's camera: sees a screenshot smaller, turned and with noise, and decodes it with zbar.

use std::fs;
use std::process::Command;

use crate::support::server::Folder;

/// How the camera is held.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Pixels of the camera to a pixel of the screen.
    pub scale: f64,
    /// To the right.
    pub degrees: f64,
    /// The standard deviation of a pixel's brightness, of 255.
    pub noise: f64,
}

/// A picture in shades of grey.
pub struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Grey {
    pub fn of_png(bytes: &[u8]) -> Self {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let samples = info.color_type.samples();
        let grey = |pixel: &[u8]| {
            let light: u32 = pixel.iter().take(3.min(samples)).map(|&part| u32::from(part)).sum();
            u8::try_from(light / u32::try_from(3.min(samples)).unwrap()).unwrap()
        };
        Grey {
            width: info.width as usize,
            height: info.height as usize,
            pixels: pixels[..info.buffer_size()].chunks(samples).map(grey).collect(),
        }
    }

    /// The brightness at a place between pixels; beyond the edge it is the edge's.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    fn at(&self, x: f64, y: f64) -> f64 {
        let place = |v: f64, end: usize| (v.clamp(0.0, (end - 1) as f64)).round() as usize;
        let (x, y) = (place(x, self.width), place(y, self.height));
        f64::from(self.pixels[y * self.width + x])
    }

    /// The picture as the camera sees it: where it is smaller, each of its pixels is the mean of
    /// 3 x 3 points.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    pub fn seen(&self, view: View) -> Grey {
        let (sine, cosine) = view.degrees.to_radians().sin_cos();
        let side = if view.scale < 1.0 { 3 } else { 1 };
        let size = |length: usize| (length as f64 * view.scale).round() as usize;
        let (width, height) = (size(self.width), size(self.height));
        let mut pixels = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let mut sum = 0.0;
                for part in 0..side * side {
                    let offset = |n: i32| (f64::from(n) + 0.5) / f64::from(side);
                    let x = column as f64 + offset(part % side) - width as f64 / 2.0;
                    let y = row as f64 + offset(part / side) - height as f64 / 2.0;
                    let (x, y) = (x * cosine + y * sine, y * cosine - x * sine);
                    sum += self.at(
                        x / view.scale + self.width as f64 / 2.0 - 0.5,
                        y / view.scale + self.height as f64 / 2.0 - 0.5,
                    );
                }
                let noise = if view.noise > 0.0 { view.noise * normal() } else { 0.0 };
                pixels.push((sum / f64::from(side * side) + noise).clamp(0.0, 255.0) as u8);
            }
        }
        Grey { width, height, pixels }
    }

    /// The one QR code in the picture.
    pub fn decode(&self) -> Option<String> {
        let folder = Folder::new();
        let file = folder.0.join("seen.pgm");
        let mut picture = format!("P5 {} {} 255\n", self.width, self.height).into_bytes();
        picture.extend(&self.pixels);
        fs::write(&file, picture).unwrap();
        let mut zbar = Command::new("zbarimg");
        zbar.args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(&file);
        let output = zbar.output().expect("zbarimg is installed: test/browser/setup.sh does it");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        lines.next().filter(|_| lines.next().is_none())
    }
}

/// About a standard normal deviate: the sum of four bytes, less its mean, by its deviation.
fn normal() -> f64 {
    let sum: u32 = rand::random::<u32>().to_ne_bytes().into_iter().map(u32::from).sum();
    (f64::from(sum) - 510.0) / 147.8
}

/// The one QR code in a screenshot.
pub fn decode(png: &[u8]) -> String {
    Grey::of_png(png).decode().expect("zbar finds one QR code")
}

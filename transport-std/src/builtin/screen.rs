//! What a computer and a browser have in common: points and regions in pixels, and images.

use toolrunner_core::ToolInput;
use toolrunner_core::tool::{ContentBlock, Output, Source, ToolError};

/// The size of a display or of a browser's viewport, in pixels of its screenshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Display {
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
}

/// A point, in pixels of the screenshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The distance from the left edge, in pixels.
    pub x: u32,
    /// The distance from the top edge, in pixels.
    pub y: u32,
}

/// A rectangle that is not empty, in pixels of the screenshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// The left edge.
    pub left: u32,
    /// The top edge.
    pub top: u32,
    /// The right edge, which is not part of the rectangle.
    pub right: u32,
    /// The bottom edge, which is not part of the rectangle.
    pub bottom: u32,
}

/// The direction of a scroll wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ToolInput)]
#[tool(rename_all = "snake_case")]
pub enum ScrollDirection {
    /// Towards the start of the page.
    Up,
    /// Towards the end of the page.
    Down,
    /// To the left.
    Left,
    /// To the right.
    Right,
}

impl ScrollDirection {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// A point as the input of a computer: `[x, y]`.
#[derive(Clone, Copy, ToolInput)]
pub(super) struct Pair(u32, u32);

impl From<Pair> for Point {
    fn from(Pair(x, y): Pair) -> Self {
        Self { x, y }
    }
}

/// A region as an input: `[x0, y0, x1, y1]`.
#[derive(Clone, Copy, ToolInput)]
pub(super) struct Edges(u32, u32, u32, u32);

/// Returns the error that an argument is not `expected`.
fn unexpected(
    tool: &str,
    argument: &str,
    expected: &str,
    display: Display,
    got: &str,
) -> ToolError {
    ToolError::format(format_args!(
        "Error: invalid input for tool '{tool}': {argument}: expected {expected} within {}x{} pixels, got {got}",
        display.width, display.height
    ))
}

impl Display {
    /// Checks that a point is on the display.
    pub(super) fn point(
        self,
        tool: &str,
        argument: &str,
        point: impl Into<Point>,
    ) -> Result<Point, ToolError> {
        let point: Point = point.into();
        if point.x < self.width && point.y < self.height {
            return Ok(point);
        }
        let got = format!("[{},{}]", point.x, point.y);
        Err(unexpected(tool, argument, "a point", self, &got))
    }

    /// Checks that a region is on the display and not empty.
    pub(super) fn region(self, tool: &str, edges: Edges) -> Result<Region, ToolError> {
        let Edges(left, top, right, bottom) = edges;
        if left < right && top < bottom && right <= self.width && bottom <= self.height {
            return Ok(Region { left, top, right, bottom });
        }
        let got = format!("[{left},{top},{right},{bottom}]");
        let expected = "[x0,y0,x1,y1] with x0 < x1 and y0 < y1";
        Err(unexpected(tool, "region", expected, self, &got))
    }
}

/// The maximum size of an image, in bytes: 5 MiB as base64.
const MAX_BYTES: usize = (5 << 20) / 4 * 3;
/// The maximum length of a side, in pixels. The API refuses a longer one.
const MAX_SIDE: u32 = 8000;

/// A screenshot: the bytes of a PNG, JPEG, GIF or WebP image.
///
/// The model's coordinates are pixels of this image, so it must have the size of the display. The
/// API refuses an image of more than 5 MiB as base64, or with a side of more than 8000 pixels, and
/// with it the whole conversation. Such an image becomes an error of the call instead.
#[derive(Clone, PartialEq, Eq)]
pub struct Screenshot {
    image: Vec<u8>,
}

impl Screenshot {
    /// Creates a screenshot from the bytes of an image file.
    pub const fn new(image: Vec<u8>) -> Self {
        Self { image }
    }

    /// Returns the bytes of the image file.
    pub fn bytes(&self) -> &[u8] {
        &self.image
    }

    /// Writes the image as one block.
    pub(super) fn write_to(&self, tool: &str, out: &mut Output<'_>) -> Result<(), ToolError> {
        let image = &*self.image;
        let Some(media_type) = media_type(image) else {
            return Err(ToolError::format(format_args!(
                "{tool}: the image is not a PNG, JPEG, GIF or WebP image"
            )));
        };
        if image.len() > MAX_BYTES {
            return Err(ToolError::format(format_args!(
                "{tool}: the image has {} bytes, at most {MAX_BYTES} are allowed",
                image.len()
            )));
        }
        if let Some((width, height)) = size(image)
            && width.max(height) > MAX_SIDE
        {
            return Err(ToolError::format(format_args!(
                "{tool}: the image has {width}x{height} pixels, at most {MAX_SIDE} per side are allowed"
            )));
        }
        Ok(out.block(ContentBlock::image(Source::Bytes { media_type, data: image }))?)
    }
}

/// Shows the size only: an image may contain secrets.
impl core::fmt::Debug for Screenshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Screenshot").field("bytes", &self.image.len()).finish_non_exhaustive()
    }
}

/// Returns the media type that the first bytes of an image state.
fn media_type(image: &[u8]) -> Option<&'static str> {
    match image {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// Returns the width and height of a PNG or JPEG image.
fn size(image: &[u8]) -> Option<(u32, u32)> {
    if image.first() == Some(&0x89) {
        // The first chunk is IHDR: length, type, width, height.
        let side = |at: usize| Some(u32::from_be_bytes(*image.get(at..)?.first_chunk()?));
        return Some((side(16)?, side(20)?));
    }
    // The segments of a JPEG image: a marker and a length. The first frame header has the size.
    let mut rest = image.strip_prefix(&[0xff, 0xd8])?;
    while let [0xff, marker, more @ ..] = rest {
        let side = |at: usize| Some(u32::from(u16::from_be_bytes(*more.get(at..)?.first_chunk()?)));
        match marker {
            0xff => rest = rest.get(1..)?,
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((side(5)?, side(3)?));
            }
            _ => rest = more.get(usize::try_from(side(0)?).ok()?..)?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Returns the beginning of a PNG image.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        image.extend(width.to_be_bytes());
        image.extend(height.to_be_bytes());
        image
    }

    fn written(image: Vec<u8>) -> Result<String, String> {
        let mut memory = Vec::new();
        let mut out = Output::growing(&mut memory);
        match Screenshot::new(image).write_to("screenshot", &mut out) {
            Ok(()) => Ok(String::from_utf8(out.finish().unwrap().to_vec()).unwrap()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn an_image_that_the_api_would_refuse_is_an_error() {
        let block = written(png(8000, 1)).unwrap();
        assert!(block.starts_with(
            r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBOR"#
        ));
        let too_wide = "screenshot: the image has 8001x1 pixels, at most 8000 per side are allowed";
        assert_eq!(written(png(8001, 1)), Err(too_wide.to_owned()));
        let mut large = png(1, 1);
        large.resize(MAX_BYTES + 1, 0);
        let too_large = "screenshot: the image has 3932161 bytes, at most 3932160 are allowed";
        assert_eq!(written(large), Err(too_large.to_owned()));
        let other = "screenshot: the image is not a PNG, JPEG, GIF or WebP image";
        assert_eq!(written(b"BM".to_vec()), Err(other.to_owned()));
    }

    #[test]
    fn the_size_of_a_jpeg_is_that_of_its_first_frame() {
        let jpeg =
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc4\0\x02\xff\xc2\0\x0b\x08\x23\x28\0\x10\x01";
        assert_eq!(size(jpeg), Some((16, 9000)));
        assert_eq!(size(&jpeg[..20]), None);
        assert!(written(jpeg.to_vec()).unwrap_err().contains("16x9000"));
    }

    #[test]
    fn points_and_regions_are_on_the_display() {
        let display = Display { width: 100, height: 50 };
        assert!(display.point("t", "a", Pair(99, 49)).is_ok());
        for point in [Pair(100, 0), Pair(0, 50)] {
            assert!(display.point("t", "a", point).is_err());
        }
        assert_eq!(
            display.region("zoom", Edges(0, 0, 100, 50)).unwrap(),
            Region { left: 0, top: 0, right: 100, bottom: 50 }
        );
        for edges in
            [Edges(0, 0, 101, 50), Edges(0, 0, 100, 51), Edges(5, 0, 5, 9), Edges(0, 9, 5, 3)]
        {
            assert!(display.region("zoom", edges).is_err());
        }
    }
}

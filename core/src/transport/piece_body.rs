//! The body of a reply, for HTTP libraries that return it piece by piece.

use embedded_io_async::{BufRead, ErrorType, Read};

use super::TransportError;

/// A reply's body that an HTTP library returns piece by piece. [`PieceBody`] turns it into a
/// [`Transport::Body`](super::Transport::Body).
#[allow(
    async_fn_in_trait,
    reason = "a driver is generic over its transport, so whether its future is Send follows from the transport's"
)]
pub trait PieceSource {
    /// A piece: `Vec<u8>`, `bytes::Bytes`, or any other owned or borrowed bytes.
    type Piece: AsRef<[u8]>;
    /// The errors of this body, for example [`Failure`](super::Failure).
    type Error: TransportError + embedded_io_async::Error + Clone;

    /// Returns the next piece, or `None` at the end of the body. A piece may be empty.
    ///
    /// The future may be dropped at any time. The next call must return what the dropped one would
    /// have returned.
    ///
    /// # Errors
    ///
    /// Fails if the connection fails or the body breaks off. It is not called again after an error.
    async fn next_piece(&mut self) -> Result<Option<Self::Piece>, Self::Error>;
}

/// A reply's body over a [`PieceSource`]: it lends the pieces without copying them.
///
/// It keeps the rules for bodies: an empty piece is not taken for the end, and the end or an error
/// is final.
///
/// # Examples
///
/// ```
/// use toolrunner_core::transport::{Failure, PieceBody, PieceSource};
///
/// /// A body that has already arrived.
/// struct ReceivedPieces(std::vec::IntoIter<Vec<u8>>);
///
/// impl PieceSource for ReceivedPieces {
///     type Piece = Vec<u8>;
///     type Error = Failure;
///
///     async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
///         Ok(self.0.next())
///     }
/// }
///
/// let body = PieceBody::new(ReceivedPieces(vec![b"{}".to_vec()].into_iter()));
/// # let _ = body;
/// ```
#[derive(Debug)]
pub struct PieceBody<S: PieceSource> {
    source: S,
    piece: Option<S::Piece>,
    /// How much of the piece was consumed.
    used: usize,
    end: Option<Result<(), S::Error>>,
}

impl<S: PieceSource> PieceBody<S> {
    /// Creates a body of the pieces of `source`.
    pub const fn new(source: S) -> Self {
        Self { source, piece: None, used: 0, end: None }
    }

    /// Returns the source, with the pieces that were not asked for yet.
    pub fn into_source(self) -> S {
        self.source
    }

    /// Returns what was received and not consumed yet.
    fn rest(&self) -> &[u8] {
        let piece = self.piece.as_ref().map(S::Piece::as_ref).unwrap_or_default();
        piece.get(self.used..).unwrap_or_default()
    }
}

impl<S: PieceSource> ErrorType for PieceBody<S> {
    type Error = S::Error;
}

impl<S: PieceSource> BufRead for PieceBody<S> {
    async fn fill_buf(&mut self) -> Result<&[u8], S::Error> {
        while self.rest().is_empty() {
            match &self.end {
                Some(Ok(())) => return Ok(&[]),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            // Before the wait, so that its memory can be used for the next one.
            (self.piece, self.used) = (None, 0);
            match self.source.next_piece().await {
                Ok(Some(piece)) => self.piece = Some(piece),
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
        Ok(self.rest())
    }

    fn consume(&mut self, amount: usize) {
        self.used = self.used.saturating_add(amount);
    }
}

impl<S: PieceSource> Read for PieceBody<S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, S::Error> {
        read_buffered(self, buffer).await
    }
}

/// Implements [`Read::read`](embedded_io_async::Read::read) for a body that implements
/// [`BufRead`]: copies what [`fill_buf`](BufRead::fill_buf) returns into `buffer`, and consumes
/// it. Returns the number of bytes copied, which is 0 at the end of the body.
///
/// `BufRead` requires `Read`, but the driver of a run reads by `fill_buf` alone. A body that comes
/// in owned pieces needs neither: see [`PieceBody`]. Dropping the
/// future loses no bytes if dropping that of `fill_buf` loses none.
///
/// # Errors
///
/// Returns the errors of `fill_buf`.
///
/// # Examples
///
/// ```
/// use embedded_io_async::{BufRead, ErrorType, Read};
/// use toolrunner_core::transport::{Failure, read_buffered};
///
/// /// A body that arrived in one piece.
/// struct Whole(&'static [u8]);
///
/// impl ErrorType for Whole {
///     type Error = Failure;
/// }
///
/// impl BufRead for Whole {
///     async fn fill_buf(&mut self) -> Result<&[u8], Failure> {
///         Ok(self.0)
///     }
///
///     fn consume(&mut self, amount: usize) {
///         self.0 = self.0.get(amount..).unwrap_or_default();
///     }
/// }
///
/// impl Read for Whole {
///     async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
///         read_buffered(self, buffer).await
///     }
/// }
/// ```
pub async fn read_buffered<B: BufRead + ?Sized>(
    body: &mut B,
    buffer: &mut [u8],
) -> Result<usize, B::Error> {
    // `fill_buf` would wait for bytes that the caller has no room for.
    if buffer.is_empty() {
        return Ok(0);
    }
    let piece = body.fill_buf().await?;
    let length = piece.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..length), piece.get(..length)) {
        #[expect(clippy::disallowed_methods, reason = "both are `length` bytes long")]
        to.copy_from_slice(from);
    }
    body.consume(length);
    Ok(length)
}

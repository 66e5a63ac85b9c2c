//! A growing text that short pieces are copied into fast.
//!
//! Most of a line are pieces of a few bytes: names of fields, small numbers, words. Copying one byte by byte, or by a
//! call for each, costs more than the bytes do. So a piece of up to 32 bytes is held in a block of 32 and copied whole,
//! which is two moves; what lies behind its end is overwritten by the next piece.

/// Longest piece that fits a block.
const BLOCK: usize = 32;

/// Text up to `end`; behind it room.
#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
    end: usize,
}

/// A piece that is written often.
pub struct Piece {
    block: [u8; BLOCK],
    length: usize,
    /// The whole piece where it is longer than a block.
    long: Option<Box<[u8]>>,
}

impl Piece {
    /// A piece of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        let long = bytes.len() > BLOCK;
        if !long {
            block[..bytes.len()].copy_from_slice(bytes);
        }
        Self {
            block,
            length: bytes.len(),
            long: long.then(|| bytes.into()),
        }
    }
}

/// `0i` to `999i`, each in eight bytes, the last of them the length.
static SMALL: [[u8; 8]; 1000] = {
    let mut table = [[0; 8]; 1000];
    let mut n = 0;
    while n < 1000 {
        let digits = [
            b'0' + (n / 100) as u8,
            b'0' + (n / 10 % 10) as u8,
            b'0' + (n % 10) as u8,
        ];
        let skip = if n < 10 {
            2
        } else if n < 100 {
            1
        } else {
            0
        };
        let mut at = 0;
        while at + skip < 3 {
            table[n][at] = digits[at + skip];
            at += 1;
        }
        table[n][at] = b'i';
        table[n][7] = at as u8 + 1;
        n += 1;
    }
    table
};

impl Text {
    /// A text with room for so many bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes],
            end: 0,
        }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.end
    }

    /// Makes the text end where it ended before.
    pub fn cut(&mut self, end: usize) {
        self.end = end.min(self.end);
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    /// Changes a byte that was written.
    pub fn set(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.bytes[..self.end].get_mut(at) {
            *place = byte;
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        self.bytes
            .resize((self.end + more).max(2 * self.bytes.len()).max(1024), 0);
    }

    /// `N` bytes of room behind the end.
    #[inline(always)]
    fn room<const N: usize>(&mut self) -> &mut [u8; N] {
        if self.bytes.len() - self.end < N {
            self.grow(N);
        }
        match self.bytes[self.end..].first_chunk_mut() {
            Some(room) => room,
            None => unreachable!("just made"),
        }
    }

    /// Appends a piece.
    #[inline(always)]
    pub fn piece(&mut self, piece: &Piece) {
        match &piece.long {
            None => {
                *self.room::<BLOCK>() = piece.block;
                self.end += piece.length;
            }
            Some(long) => self.bytes(long),
        }
    }

    /// Appends bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        if self.bytes.len() - self.end < bytes.len() {
            self.grow(bytes.len());
        }
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Appends a byte.
    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        *self.room::<1>() = [byte];
        self.end += 1;
    }

    /// Appends an integer and its suffix `i`.
    #[inline(always)]
    pub fn integer(&mut self, value: i64) {
        match usize::try_from(value).ok().and_then(|v| SMALL.get(v)) {
            Some(small) => {
                *self.room::<8>() = *small;
                self.end += usize::from(small[7]);
            }
            None => {
                self.bytes(itoa::Buffer::new().format(value).as_bytes());
                self.byte(b'i');
            }
        }
    }
}

//! Cosines of all rows of a library with a few others, a block at a time: what tags, clusters and duplicates are made of.
use hua_kernels::{AlignedBytes, Cores, Epilogue, Layout, Packed, Part, Precision, Values, pack, product};

/// Rows of a library that are multiplied at a time.
pub const BATCH: usize = 256;

/// Rows, `[n, width]`, that others are multiplied with.
pub struct Rows {
    packed: AlignedBytes,
    layout: Layout,
    width: usize,
    count: usize,
}

impl Rows {
    /// Packs `data`, `[n, width]`, for products on `cores`.
    pub fn new(cores: &Cores, width: usize, data: &[f32]) -> Self {
        let count = data.len() / width;
        let layout = Layout::new(cores.isa(), Precision::F32, count, width);
        let mut packed = AlignedBytes::new(layout.bytes());
        pack(cores, layout, Values::F32(data), &mut packed);
        Self { packed, layout, width, count }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The cosines of the rows of `x`, `[m, width]`, with these: `[m, len]`. Each is the same number whatever rows stand beside it.
    pub fn cosines<'a>(&self, cores: &Cores, x: &[f32], out: &'a mut Vec<f32>) -> &'a [f32] {
        out.clear();
        out.resize(x.len() / self.width * self.count, 0.0);
        let parts = [Part { weight: Packed::new(self.layout, &self.packed), bias: None }];
        product(cores, x, self.width, &parts, Epilogue::default(), out);
        out
    }
}

//! Which instruction set the kernels use: detected when the program runs, never when it is compiled.
use std::fmt;

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Kernel, Scalar};

/// An instruction set that this machine has. There is no way to make one that it lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    Scalar,
    /// Plain Rust with the lanes and the tiles of AVX-512, so that tests run the kernels so on every machine.
    #[cfg(test)]
    Wide,
}

impl Isa {
    /// Those of this machine, best first; the last is plain Rust, which every machine has.
    pub fn available() -> Vec<Self> {
        let mut isas = vec![];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                isas.push(Self(Kind::Avx512));
            }
            if avx2 {
                isas.push(Self(Kind::Avx2));
            }
        }
        #[cfg(test)]
        isas.push(Self(Kind::Wide));
        isas.push(Self(Kind::Scalar));
        isas
    }

    /// The one of that name, if this machine has it: `avx2`, `avx512` or `scalar`.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// The best of this machine; the environment variable `HUA_ISA` may name another that it has.
    pub fn best() -> Self {
        let named = std::env::var("HUA_ISA").ok().and_then(|name| Self::named(&name));
        named.unwrap_or_else(|| Self::available()[0])
    }

    /// Its name: `avx2`, `avx512` or `scalar`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            Kind::Scalar => "scalar",
            #[cfg(test)]
            Kind::Wide => "wide",
        }
    }

    /// Runs a kernel that was compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the value exists, so `available` found these features.
            Kind::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: plain Rust needs no feature.
            Kind::Scalar => unsafe { kernel.run::<Scalar>() },
            #[cfg(test)]
            // SAFETY: as above.
            Kind::Wide => unsafe { kernel.run::<crate::simd::Plain<16, 6>>() },
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the features.
    unsafe { kernel.run::<Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function has the features.
    unsafe { kernel.run::<Avx512>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_plain_rust_and_its_best_has_a_name() {
        let isas = Isa::available();
        assert_eq!(isas.last().map(|isa| isa.name()), Some("scalar"));
        assert!(isas.iter().all(|&isa| Isa::named(isa.name()) == Some(isa)));
        assert_eq!(Isa::named("mmx"), None);
    }
}

//! Which instruction set the kernels use: detected when the program runs, never when it is compiled.
use std::ffi::OsStr;
use std::fmt;

#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Kernel, Scalar, Simd};

/// `HUA_ISA` names no instruction set of this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`HUA_ISA` is `{}`, this machine has {}", .found.escape_debug(), .known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))]
pub struct IsaError {
    found: String,
    known: Vec<&'static str>,
}

/// An instruction set that this machine has. There is no way to make one that it lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
    /// Plain Rust with the lanes and the tiles of AVX-512, so that tests run the kernels so on every machine.
    #[cfg(test)]
    Wide,
}

impl Isa {
    /// Those of this machine, best first; the last is plain Rust, which every machine has.
    pub fn available() -> Vec<Self> {
        // The worst first.
        let mut isas = vec![Self(Kind::Scalar)];
        #[cfg(test)]
        isas.push(Self(Kind::Wide));
        #[cfg(target_arch = "aarch64")]
        isas.push(Self(Kind::Neon));
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            isas.push(Self(Kind::Avx2));
            if is_x86_feature_detected!("avx512f") {
                isas.push(Self(Kind::Avx512));
            }
        }
        isas.reverse();
        isas
    }

    /// The one of that name, if this machine has it: `avx2`, `avx512`, `neon` or `scalar`.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// The best of this machine.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// The one that the environment variable `HUA_ISA` names, or else the best.
    ///
    /// # Errors
    /// If it names one that this machine lacks, or none at all.
    pub fn chosen() -> Result<Self, IsaError> {
        Self::of_setting(std::env::var_os("HUA_ISA").as_deref())
    }

    fn of_setting(name: Option<&OsStr>) -> Result<Self, IsaError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Self::best()) };
        let found = name.to_string_lossy().into_owned();
        Self::named(&found).ok_or_else(|| IsaError { found, known: Self::available().iter().map(|isa| isa.name()).collect() })
    }

    /// Its name: `avx2`, `avx512`, `neon` or `scalar`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Scalar => "scalar",
            #[cfg(test)]
            Kind::Wide => "wide",
        }
    }

    /// Columns of a panel of packed weights: two registers of f32.
    pub(crate) fn panel(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;

            #[inline(always)]
            unsafe fn run<S: Simd>(self) -> usize {
                S::LANES
            }
        }
        2 * self.run(Lanes)
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
            #[cfg(target_arch = "aarch64")]
            // SAFETY: every machine of the kind has it.
            Kind::Neon => unsafe { kernel.run::<Neon>() },
            // SAFETY: plain Rust needs no feature.
            Kind::Scalar => unsafe { kernel.run::<Scalar>() },
            #[cfg(test)]
            // SAFETY: as above.
            Kind::Wide => unsafe { kernel.run::<crate::simd::Plain<16>>() },
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

    #[test]
    fn a_setting_that_names_nothing_here_is_an_error_and_an_empty_one_is_none() {
        let of = |name: &str| Isa::of_setting(Some(name.as_ref()));
        assert_eq!((Isa::of_setting(None), of("")), (Ok(Isa::best()), Ok(Isa::best())));
        assert_eq!(of("scalar").unwrap().name(), "scalar");
        let message = of("AVX2 ").unwrap_err().to_string();
        assert!(message.starts_with("`HUA_ISA` is `AVX2 `, this machine has `") && message.ends_with("`scalar`"), "{message}");
    }
}

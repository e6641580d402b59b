//! The learning rate of each step: up in a straight line, then down (cn_clip's `training/scheduler.py`, the same as open_clip's).
//!
//! Of steps counted from 0, step `s` of `T` with `w` of warm-up has the peak times
//!
//! - `(s + 1) / w` while `s < w`;
//! - then, with `x = (s - w) / (T - w)`: `½ (1 + cos πx)` for a cosine, `1 - x` for a line, 1 for a constant. Where the recipe keeps a share
//!   `f` of the peak, `f + (1 - f) ·` that.
use crate::recipe::{Decay, ScheduleSection};

/// Learning rates of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The greatest learning rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps of the run.
    pub total: u64,
    /// How it falls.
    pub decay: Decay,
    /// What share of the peak it falls to.
    pub final_share: f64,
}

impl Schedule {
    /// What a recipe says, for epochs of so many steps.
    pub fn new(section: &ScheduleSection, peak: f64, steps_per_epoch: u64) -> Self {
        let total = match section.steps {
            0 => (section.epochs * steps_per_epoch as f64).ceil().max(1.0) as u64,
            steps => steps,
        };
        let warmup = match section.warmup_steps {
            0 => (section.warmup_share * total as f64).round() as u64,
            steps => steps,
        };
        Self { peak, warmup, total, decay: section.decay, final_share: section.final_share }
    }

    /// The learning rate of step `step`, counted from 0.
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let length = self.total.saturating_sub(self.warmup).max(1);
        let x = ((step - self.warmup) as f64 / length as f64).min(1.0);
        let share = match self.decay {
            Decay::Constant => return self.peak,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * x).cos()),
            Decay::Linear => 1.0 - x,
        };
        self.peak * (self.final_share + (1.0 - self.final_share) * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay, final_share: f64) -> Schedule {
        Schedule { peak: 5e-4, warmup: 4, total: 12, decay, final_share }
    }

    #[test]
    fn the_cosine_is_cn_clips() {
        // `cosine_lr` of cn_clip with base_lr 5e-4, warmup_length 4, steps 12, at steps 0, 3, 4, 8, 11.
        let s = schedule(Decay::Cosine, 0.0);
        for (step, wanted) in [(0, 0.000125), (3, 0.0005), (4, 0.0005), (8, 0.00025), (11, 1.903011687e-05)] {
            assert!((s.lr(step) - wanted).abs() < 1e-13, "{step}: {}", s.lr(step));
        }
    }

    #[test]
    fn lines_and_constants_begin_at_the_peak_and_end_where_they_should() {
        assert_eq!(schedule(Decay::Linear, 0.0).lr(8), 2.5e-4);
        assert_eq!(schedule(Decay::Linear, 0.1).lr(12), 5e-5);
        assert_eq!(schedule(Decay::Cosine, 0.1).lr(99), 5e-5);
        assert_eq!(schedule(Decay::Constant, 0.0).lr(11), 5e-4);
    }

    #[test]
    fn epochs_and_shares_become_steps() {
        let section = ScheduleSection { epochs: 2.5, warmup_share: 0.1, ..ScheduleSection::default() };
        let s = Schedule::new(&section, 1.0, 101);
        assert_eq!((s.total, s.warmup), (253, 25));
        let section = ScheduleSection { steps: 7, warmup_steps: 3, ..section };
        let s = Schedule::new(&section, 1.0, 101);
        assert_eq!((s.total, s.warmup), (7, 3));
    }

    #[test]
    fn a_run_without_warm_up_or_shorter_than_it_has_a_rate_at_each_step() {
        for (warmup, total) in [(0, 1), (5, 5), (9, 3), (0, 10)] {
            let s = Schedule { peak: 1.0, warmup, total, decay: Decay::Cosine, final_share: 0.0 };
            assert!((0..total).all(|step| s.lr(step) > 0.0 && s.lr(step) <= 1.0), "{warmup} {total}");
        }
    }
}

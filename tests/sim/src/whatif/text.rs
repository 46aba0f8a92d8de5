//! A report for people.

use core::fmt;

use super::report::{EndedEarly, Moment, Report, Share, Utilisation, Waiting};

/// Most rows of the table of utilisation over time.
const ROWS_MAX: usize = 24;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = self.memory_bytes / f64::from(1 << 30);
        writeln!(f, "cluster     {} nodes, {:.1} cores, {gib:.1} GiB", self.nodes, self.cpu_cores)?;
        writeln!(
            f,
            "workload    {} lines; {} tasks started, {} ended by themselves, {} never started",
            self.lines, self.tasks_started, self.tasks_ended, self.tasks_never_started
        )?;
        writeln!(f, "makespan    {}; means are over {}", time(self.makespan_s), time(self.simulated_s))?;
        self.utilisation(f)?;
        self.over_time(f)?;
        waiting(f, "WAITING BY TIER", &self.waiting_by_tier)?;
        waiting(f, "WAITING BY NAMESPACE", &self.waiting_by_namespace)?;
        self.early(f)?;
        self.oversubscription(f)?;
        self.unplaced(f)
    }
}

impl Report {
    fn utilisation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<14}{:>17}{:>17}{:>17}{:>17}",
            "UTILISATION", "CPU RESERVED", "CPU USED", "MEM RESERVED", "MEM USED"
        )?;
        writeln!(
            f,
            "{:<14}{:>17}{:>17}{:>17}{:>17}",
            "", "mean    peak", "mean    peak", "mean    peak", "mean    peak"
        )?;
        let pair = |share: &Share| format!("{:>6} {:>7}", percent(share.mean), percent(share.peak));
        let (cpu, memory) = (&self.cpu, &self.memory);
        let mut row = |name: &str, cells: [&Share; 4]| {
            let [a, b, c, d] = cells.map(pair);
            writeln!(f, "{name:<14}{a:>17}{b:>17}{c:>17}{d:>17}")
        };
        row("all", [&cpu.reserved, &cpu.used, &memory.reserved, &memory.used])?;
        let tiers = |of: &Utilisation| of.tiers.clone();
        for (cpu, memory) in tiers(cpu).iter().zip(&tiers(memory)) {
            row(cpu.tier, [&cpu.reserved, &cpu.used, &memory.reserved, &memory.used])?;
        }
        Ok(())
    }

    fn over_time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<22}{:>13}{:>10}{:>13}{:>10}   CPU used by production, preemptible, revocable",
            "OVER TIME", "CPU reserved", "used", "MEM reserved", "used"
        )?;
        let step = self.over_time.len().div_ceil(ROWS_MAX).max(1);
        for moments in self.over_time.chunks(step) {
            let (Some(first), Some(last)) = (moments.first(), moments.last()) else { continue };
            let length = last.to_s - first.from_s;
            let mean = |part: &dyn Fn(&Moment) -> f64| {
                let sum: f64 = moments.iter().map(|moment| part(moment) * (moment.to_s - moment.from_s)).sum();
                percent(sum / length)
            };
            let span = format!("{} to {}", time(first.from_s), time(last.to_s));
            let tier = |at: usize| mean(&|moment: &Moment| moment.cpu_used_by_tier[at]);
            writeln!(
                f,
                "{span:<22}{:>13}{:>10}{:>13}{:>10}   {:>6} {:>6} {:>6}",
                mean(&|moment| moment.cpu_reserved),
                mean(&|moment| moment.cpu_used),
                mean(&|moment| moment.memory_reserved),
                mean(&|moment| moment.memory_used),
                tier(0),
                tier(1),
                tier(2)
            )?;
        }
        Ok(())
    }

    fn early(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        if self.ended_early.is_empty() {
            writeln!(f, "ended early   nothing")?;
        }
        for EndedEarly { reason, attempts, lost_s } in &self.ended_early {
            writeln!(f, "ended early   {attempts} attempts, {reason}, after {} in all", time(*lost_s))?;
        }
        if self.throttled > 0 {
            writeln!(f, "throttled     {} times a revocable attempt, until its owner needed less", self.throttled)?;
        }
        Ok(())
    }

    fn oversubscription(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = &self.oversubscription;
        writeln!(
            f,
            "revocable     used {} of the CPU and {} of the memory; reserved beyond their nodes: {} and {}",
            percent(over.cpu_used_by_revocable),
            percent(over.memory_used_by_revocable),
            percent(over.cpu_reserved_beyond),
            percent(over.memory_reserved_beyond)
        )?;
        let (Some(cpu), Some(memory)) = (over.cpu_gained, over.memory_gained) else { return Ok(()) };
        let points = |value: f64| format!("{:+.1}", value * 100.0);
        writeln!(
            f,
            "gained        {} points of CPU and {} of memory over the same without it",
            points(cpu),
            points(memory)
        )
    }

    fn unplaced(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runs_waiting_for_ever > 0 {
            let (runs, tasks) = (self.runs_waiting_for_ever, self.tasks_never_started);
            writeln!(f, "\nNEVER STARTED: {tasks} tasks of {runs} runs")?;
        }
        for run in &self.waiting_for_ever {
            writeln!(f, "  line {}, {}/{}: {} tasks", run.line, run.namespace, run.job, run.tasks)?;
            for why in &run.why {
                writeln!(f, "    {why}")?;
            }
        }
        if self.lines_refused > 0 {
            writeln!(f, "\nREFUSED: {} lines", self.lines_refused)?;
        }
        for refused in &self.refused {
            writeln!(f, "  line {}: {}", refused.line, refused.why)?;
        }
        Ok(())
    }
}

fn waiting(f: &mut fmt::Formatter<'_>, title: &str, rows: &[Waiting]) -> fmt::Result {
    writeln!(f, "\n{title:<22}{:>10}{:>11}{:>11}{:>11}{:>11}", "TASKS", "P50", "P90", "P99", "MAX")?;
    for Waiting { name, tasks, p50_s, p90_s, p99_s, max_s } in rows {
        let [p50, p90, p99, max] = [p50_s, p90_s, p99_s, max_s].map(|seconds| time(*seconds));
        writeln!(f, "{name:<22}{tasks:>10}{p50:>11}{p90:>11}{p99:>11}{max:>11}")?;
    }
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// A time with a precision that suits it.
fn time(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0}ms", seconds * 1000.0)
    } else if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else if seconds < 3600.0 {
        format!("{:.1}m", seconds / 60.0)
    } else if seconds < 172_800.0 {
        format!("{:.1}h", seconds / 3600.0)
    } else {
        format!("{:.1}d", seconds / 86400.0)
    }
}

//! Faults of what daemons stand on: disks, the quota of etcd, and the wall clock.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};

use super::{
    damage::damage_caches,
    inject::{Broken, Injector, Victim, wall_clock},
};

/// How long etcd may take to raise or lower an alarm; one that has no quorum is asked again later.
const ALARM: Duration = Duration::from_secs(3);

impl Injector<'_> {
    /// A time by the wall clock of the daemons as it is now, in milliseconds since 1970.
    pub(super) fn shown_ms(&self, time: Duration) -> Result<u64> {
        let ahead_ms = self.hours.as_ref().and_then(|hours| hours.settings.last()).map_or(0, |set| set.offset_ms);
        Ok(u64::try_from(time.as_millis()).context("the time")?.saturating_add_signed(ahead_ms))
    }

    /// Fills the disk of a directory; that of an executor is not to be started meanwhile, since it counts its starts there.
    pub(super) fn fill(&mut self, dir: PathBuf, of: Option<Victim>) -> Result<Option<Broken>> {
        if of.is_some_and(|of| self.held.contains(&of)) || self.full.contains(&dir) {
            return Ok(None);
        }
        let Some(disk) = self.cluster.disk(&dir) else { return Ok(None) };
        disk.fill()?;
        self.held.extend(of);
        self.full.insert(dir.clone());
        Ok(Some(Broken::Full(dir, of)))
    }

    pub(super) fn free(&mut self, dir: &PathBuf, of: Option<Victim>) -> Result<()> {
        self.cluster.disk(dir).context("a disk that was filled")?.free()?;
        self.full.remove(dir);
        if let Some(of) = of {
            self.held.remove(&of);
        }
        Ok(())
    }

    /// Kills an executor and damages its caches before it is started again.
    pub(super) fn damage(&mut self, executor: usize) -> Result<Option<Broken>> {
        let down = self.kill(&[Victim::Executor(executor)])?;
        if down.is_some() {
            damage_caches(&self.cluster.executor_dir(executor))?;
        }
        Ok(down)
    }

    pub(super) fn step_ahead(&mut self) -> Result<Option<Broken>> {
        let Some(hours) = &mut self.hours else { return Ok(None) };
        hours.step_ahead(wall_clock())?;
        Ok(Some(Broken::Down(Vec::new())))
    }

    pub(super) fn step_back(&mut self) -> Result<Option<Broken>> {
        let Some(hours) = &mut self.hours else { return Ok(None) };
        Ok(hours.step_back(wall_clock())?.then_some(Broken::Behind))
    }

    /// Raises the quota alarm, as a full etcd does itself. Without an answer it may be raised later, so that it has to be
    /// lowered in any case.
    pub(super) fn raise_alarm(&mut self, member: usize) {
        let url = self.cluster.member_mut(member).url();
        let raising = async { tokio::time::timeout(ALARM, raise(&url)).await };
        let _answer = self.runtime.block_on(raising);
    }

    /// Lowers it, as an operator does who has made room; gives whether that was done.
    pub(super) fn lower_alarm(&mut self) -> bool {
        let urls: Vec<String> = (0..super::ETCD_MEMBERS).map(|member| self.cluster.member_mut(member).url()).collect();
        // Each alone: one that is asleep takes a request and is silent.
        urls.iter().any(|url| {
            let lowering = async { tokio::time::timeout(ALARM, lower(url)).await };
            self.runtime.block_on(lowering).is_ok_and(|lowered| lowered.is_ok())
        })
    }
}

async fn raise(url: &str) -> Result<()> {
    let mut client = Client::connect([url], None).await.context("reach etcd")?;
    let status = client.status().await?;
    let mut options = AlarmOptions::new();
    options.with_member(status.header().context("a member")?.member_id());
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, Some(options)).await?;
    Ok(())
}

async fn lower(url: &str) -> Result<()> {
    let mut client = Client::connect([url], None).await.context("reach etcd")?;
    for alarm in client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await?.alarms() {
        let mut options = AlarmOptions::new();
        options.with_member(alarm.member_id());
        client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options)).await?;
    }
    let left = client.alarm(AlarmAction::Get, AlarmType::Nospace, None).await?;
    ensure!(left.alarms().is_empty(), "an alarm is still raised");
    Ok(())
}

//! How a verb that works on the topic learns where it is.

use anyhow::bail;
use event_store::relay::Target;
use platform::config::{KafkaArgs, Problems};

/// The topic that the settings name; none without brokers.
pub(super) fn target(args: &KafkaArgs) -> Option<Target> {
    let mut problems = Problems::default();
    let settings = args.validate(&mut problems);
    problems.check_or_exit();
    settings.map(|settings| Target {
        brokers: settings.brokers,
        topic: settings.topic,
    })
}

/// The same for a verb that can do nothing without.
pub(super) fn needed(args: &KafkaArgs) -> anyhow::Result<Target> {
    let Some(target) = target(args) else {
        bail!("KAFKA_BROKERS is not set");
    };
    Ok(target)
}

//! Several clusters, each with its share.

use super::entry::ClusterIndex;

/// Where the requests of a route go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Each with the sum of the weights so far, its own included. Those without weight are not here.
    all: Box<[(u64, ClusterIndex)]>,
}

impl Split {
    /// Of clusters with their weights. `None` when nothing has any.
    pub(crate) fn new(weights: impl IntoIterator<Item = (ClusterIndex, u32)>) -> Option<Self> {
        let mut sum = 0;
        let all: Box<[_]> = weights
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(cluster, weight)| {
                sum += u64::from(weight);
                (sum, cluster)
            })
            .collect();
        (!all.is_empty()).then_some(Self { all })
    }

    /// The cluster for a number that is random, or the hash of what shall stay together: equal numbers give equal
    /// clusters, and even ones give each its share.
    #[inline]
    pub(crate) fn pick(&self, number: u64) -> ClusterIndex {
        if let [(_, only)] = *self.all {
            return only;
        }
        let sum = self.all.last().map_or(0, |(sum, _)| *sum);
        let at = ((u128::from(number) * u128::from(sum)) >> 64) as u64;
        let index = self.all.partition_point(|(sum, _)| *sum <= at);
        self.all.get(index).or_else(|| self.all.last()).map_or(ClusterIndex(0), |(_, cluster)| *cluster)
    }

    /// Any number will do.
    #[inline]
    pub(crate) fn is_single(&self) -> bool {
        self.all.len() == 1
    }

    #[cfg(test)]
    pub(crate) fn clusters(&self) -> impl Iterator<Item = ClusterIndex> {
        self.all.iter().map(|(_, cluster)| *cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use balance_engine::rng::Rng;

    #[test]
    fn each_gets_its_share() {
        let split = Split::new([(ClusterIndex(4), 9), (ClusterIndex(5), 0), (ClusterIndex(6), 1)]).expect("weights");
        let mut random = Rng::new(7);
        let count = (0..100_000).filter(|_| split.pick(random.next_u64()) == ClusterIndex(6)).count();
        assert!((9_500..10_500).contains(&count), "{count}");
        assert_eq!(split.pick(0), ClusterIndex(4));
        assert_eq!(split.pick(u64::MAX), ClusterIndex(6));
        assert_eq!(split.clusters().collect::<Vec<_>>(), [ClusterIndex(4), ClusterIndex(6)]);
    }

    #[test]
    fn one_gets_all_and_none_is_none() {
        let split = Split::new([(ClusterIndex(1), 5)]).expect("a weight");
        assert_eq!((split.pick(0), split.pick(u64::MAX)), (ClusterIndex(1), ClusterIndex(1)));
        assert_eq!(Split::new([(ClusterIndex(1), 0)]), None);
        assert_eq!(Split::new([]), None);
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let split = Split::new((0..1000).map(|index| (ClusterIndex(index), u32::MAX))).expect("weights");
        assert_eq!(split.pick(u64::MAX), ClusterIndex(999));
    }
}

//! Ten thousand callers of one call, beside `futures::future::Shared`.

use std::convert::Infallible;
use std::time::Duration;

use cpu_time::ThreadTime;
use futures_util::FutureExt;
use tokio::runtime::Builder;
use tower::{Layer, Service, service_fn};
use tower_oauth_benches::contest::median;
use tower_single_flight::SingleFlightLayer;

use crate::Row;

const WAITERS: usize = 10_000;
const ROUNDS: usize = 15;

pub(crate) fn rows() -> Vec<Row> {
    let mut ours = Vec::new();
    let mut shared = Vec::new();
    let mut allocations = u64::MAX;
    for _ in 0..ROUNDS {
        let (took, allocated) = measure(flight);
        ours.push(took);
        allocations = allocations.min(allocated);
        shared.push(measure(shared_future).0);
    }
    vec![Row {
        path: "single flight, 10,000 waiters, 1 call".into(),
        ours_ns: median(&mut ours),
        reference_ns: median(&mut shared),
        budget_ratio: 1.5,
        allocations: allocations / WAITERS as u64,
        budget_allocations: 3,
    }]
}

fn measure(work: fn()) -> (f64, u64) {
    let mut took = Duration::ZERO;
    let allocated = allocation_counter::measure(|| {
        let start = ThreadTime::now();
        work();
        took = start.elapsed();
    });
    (took.as_secs_f64() * 1e9 / WAITERS as f64, allocated.count_total)
}

async fn exchange() -> u64 {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    42
}

fn flight() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let mut service = SingleFlightLayer::new(|_: &()| ())
            .layer(service_fn(|()| async { Ok::<_, Infallible>(exchange().await) }));
        let waiters: Vec<_> = (0..WAITERS).map(|_| service.call(())).collect();
        for result in futures_util::future::join_all(waiters).await {
            assert_eq!(result.unwrap(), 42);
        }
    });
}

fn shared_future() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let call = tokio::spawn(exchange()).map(|result| result.unwrap()).shared();
        let waiters: Vec<_> = (0..WAITERS).map(|_| call.clone()).collect();
        for result in futures_util::future::join_all(waiters).await {
            assert_eq!(result, 42);
        }
    });
}

//! What does Wasmtime's own guest debugging cost, and how fast are its events?
//!
//! Reads requests from standard input, a line of JSON each, and answers with a line of JSON, so that the runner
//! can interleave its own measurements with ours:
//!
//! * `{"op": "load", "path": P, "debug": B}` compiles and instantiates: `{"id": N, "seconds": S, "code": BYTES}`
//! * `{"op": "call", "id": N, "argument": A}` calls its `run`: `{"seconds": S, "result": R}`
//! * `{"op": "events", "path": P, "argument": A, "at": OFFSET or null, "through": T}` calls it with a breakpoint at
//!   a module offset, or step by step without one; events are decided in another task (T "task", through the
//!   `Debuggee`) or by the handler itself, which reads local 0 ("handler"): `{"seconds": S, "events": C}`
//!
//! Modules have no imports and export `run(i32) -> i32`.  Seconds of loads and calls are CPU time of the process,
//! those of events are wall time.

use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use wasmtime::{
    Config, DebugEvent, DebugHandler, Engine, Instance, ModulePC, Module, Store, StoreContextMut, TypedFunc,
};
use wasmtime_internal_debugger::{DebugRunResult, Debuggee};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn cpu_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn engine(debug: bool) -> Result<Engine> {
    let mut config = Config::new();
    config.guest_debug(debug);
    Ok(Engine::new(&config)?)
}

struct Loaded {
    store: Store<()>,
    run: TypedFunc<i32, i32>,
}

async fn instantiate<T: Send + 'static>(
    store: &mut Store<T>,
    module: &Module,
) -> Result<TypedFunc<i32, i32>> {
    let instance = Instance::new_async(&mut *store, module, &[]).await?;
    Ok(instance.get_typed_func(&mut *store, "run")?)
}

async fn load(engine: &Engine, path: &str) -> Result<(Loaded, Value)> {
    let wasm = std::fs::read(path)?;
    let began = cpu_seconds();
    let module = Module::new(engine, &wasm)?;
    let seconds = cpu_seconds() - began;
    let mut store = Store::new(engine, ());
    let run = instantiate(&mut store, &module).await?;
    Ok((Loaded { store, run }, json!({"seconds": seconds, "code": module.serialize()?.len()})))
}

async fn call(loaded: &mut Loaded, argument: i32) -> Result<Value> {
    let began = cpu_seconds();
    let result = loaded.run.call_async(&mut loaded.store, argument).await?;
    Ok(json!({"seconds": cpu_seconds() - began, "result": result}))
}

/// Steps where there is no offset, else a breakpoint.
fn arm<T: Send + 'static>(store: &mut Store<T>, module: &Module, at: Option<u32>) -> wasmtime::Result<()> {
    let mut edit = store.edit_breakpoints().expect("guest debugging is on");
    match at {
        Some(offset) => edit.add_breakpoint(module, ModulePC::new(offset)),
        None => edit.single_step(true),
    }
}

/// Each event goes to the task that holds the `Debuggee`, and back.
async fn through_a_task(engine: &Engine, path: &str, argument: i32, at: Option<u32>) -> Result<(f64, u64)> {
    let module = Module::from_file(engine, path)?;
    let mut store = Store::new(engine, ());
    let run = instantiate(&mut store, &module).await?;
    let mut debuggee = Debuggee::new(store, move |store| {
        Box::pin(async move {
            arm(store, &module, at)?;
            run.call_async(&mut *store, argument).await?;
            Ok(())
        })
    });
    let (began, mut seen) = (Instant::now(), 0);
    loop {
        match debuggee.run().await? {
            DebugRunResult::Breakpoint => seen += 1,
            DebugRunResult::Finished => return Ok((began.elapsed().as_secs_f64(), seen)),
            other => return Err(format!("unexpected event {other:?}").into()),
        }
    }
}

/// Decides in place, as a condition does that is false.
#[derive(Clone)]
struct Condition(Arc<AtomicU64>);

impl DebugHandler for Condition {
    type Data = ();
    async fn handle(&self, mut store: StoreContextMut<'_, ()>, _event: DebugEvent<'_>) {
        let frame = store.debug_exit_frames().next().expect("a frame");
        let holds = frame.local(&mut store, 0).expect("a local").unwrap_i32() == -1;
        self.0.fetch_add(if holds { 1 << 32 } else { 1 }, Ordering::Relaxed);
    }
}

async fn in_the_handler(engine: &Engine, path: &str, argument: i32, at: Option<u32>) -> Result<(f64, u64)> {
    let module = Module::from_file(engine, path)?;
    let mut store = Store::new(engine, ());
    let run = instantiate(&mut store, &module).await?;
    let seen = Arc::new(AtomicU64::new(0));
    store.set_debug_handler(Condition(seen.clone()));
    arm(&mut store, &module, at)?;
    let began = Instant::now();
    run.call_async(&mut store, argument).await?;
    Ok((began.elapsed().as_secs_f64(), seen.load(Ordering::Relaxed)))
}

async fn answer(request: &Value, engines: &[Engine; 2], loaded: &mut Vec<Loaded>) -> Result<Value> {
    let path = request["path"].as_str().unwrap_or_default();
    let argument = request["argument"].as_i64().unwrap_or_default() as i32;
    match request["op"].as_str() {
        Some("load") => {
            let debug = request["debug"].as_bool().unwrap_or_default();
            let (module, mut result) = load(&engines[debug as usize], path).await?;
            result["id"] = json!(loaded.len());
            loaded.push(module);
            Ok(result)
        }
        Some("call") => {
            let id = request["id"].as_u64().unwrap_or(u64::MAX) as usize;
            call(loaded.get_mut(id).ok_or("no such id")?, argument).await
        }
        Some("events") => {
            let at = request["at"].as_u64().map(|offset| offset as u32);
            let (seconds, events) = match request["through"].as_str() {
                Some("task") => through_a_task(&engines[1], path, argument, at).await?,
                _ => in_the_handler(&engines[1], path, argument, at).await?,
            };
            Ok(json!({"seconds": seconds, "events": events}))
        }
        _ => Err("no such request".into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let engines = [engine(false)?, engine(true)?];
    let mut loaded = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let reply = match answer(&request, &engines, &mut loaded).await {
            Ok(reply) => reply,
            Err(error) => json!({"error": error.to_string()}),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{reply}")?;
        out.flush()?;
    }
    Ok(())
}

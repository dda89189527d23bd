import Benchmark
import Foundation
import Pleat

/// Benchmarks of whole jobs on the checkpoint at the path `PLEAT_CHECKPOINT`.
///
/// `Benchmarks/run` writes a checkpoint of 1.1 billion weights and sets the variable.
let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .cpuTotal, .peakMemoryResident, .throughput],
    warmupIterations: 1, maxDuration: .seconds(60), maxIterations: 5)
  guard let checkpoint = ProcessInfo.processInfo.environment["PLEAT_CHECKPOINT"] else {
    FileHandle.standardError.write(Data("set PLEAT_CHECKPOINT, or run Benchmarks/run\n".utf8))
    return
  }
  let folder = FileManager.default.temporaryDirectory.appending(
    path: "pleat-benchmarks-\(ProcessInfo.processInfo.processIdentifier)"
  ).path

  for (name, bits, compresses) in [
    ("quantize to 4 bits", 4, false), ("quantize to 3 bits", 3, false),
    ("quantize to 4 bits, compressed", 4, true),
  ] {
    Benchmark(name) { benchmark in
      var recipe = Recipe()
      recipe.bits = bits
      for _ in benchmark.scaledIterations {
        try Job.quantize(checkpoint, recipe, to: folder + "/out.pleat", compresses: compresses)
      }
    } setup: {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } teardown: {
      try FileManager.default.removeItem(atPath: folder)
    }
  }

  Benchmark("decode 4 bits to F16 safetensors") { benchmark in
    for _ in benchmark.scaledIterations {
      try Job.decode(folder + "/in.pleat", to: folder + "/out.safetensors")
    }
  } setup: {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Job.quantize(checkpoint, Recipe(), to: folder + "/in.pleat", compresses: false)
  } teardown: {
    try FileManager.default.removeItem(atPath: folder)
  }

  Benchmark("read a header") { benchmark in
    for _ in benchmark.scaledIterations { blackHole(try Model.open(checkpoint)) }
  }
}

/// The jobs; they use only the public API of the library.
enum Job {
  static func quantize(
    _ model: String, _ recipe: Recipe, to path: String, compresses: Bool
  ) throws {
    let destination = Destination(path: path, format: .pleat, compresses: compresses)
    try Run(
      try Plan.quantizing(try Model.open(model), recipe, to: destination), replacing: true)()
  }

  static func decode(_ model: String, to path: String) throws {
    let destination = Destination(path: path, format: .safetensors)
    try Run(try Plan.converting(try Model.open(model), to: destination), replacing: true)()
  }
}

import Pleat
import TestSupport
import Testing

/// A resumed run keeps the complete files of a stopped run and writes the same bytes.
@Suite struct ResumptionTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let formats: [Format] = [.safetensors, .gguf, .mlx]

  /// Four tensors of two blocks each.
  private func model(seed: UInt64 = 1) throws -> Model {
    let names = ["a", "b", "c", "d"].map { "model.layers.0.\($0).weight" }
    _ = try Models.make(
      names.enumerated().map { index, name in
        Toy(name, .f32, [768, 512], seed: seed + UInt64(index))
      }, in: scratch, metadata: [("general.architecture", "llama")], as: "in/model.safetensors")
    try scratch.write(#"{"model_type": "llama"}"#, as: "in/config.json")
    return try Model.open(scratch.path("in"))
  }

  private func plan(_ model: Model, _ format: Format, as name: String) throws -> Plan {
    // Every tensor is larger than the limit, so each gets its own file.
    let path = scratch.path(format == .gguf ? "\(name).gguf" : name)
    let destination = Destination(path: path, format: format, shardByteCount: 100_000)
    return format == .safetensors
      ? try Plan.converting(model, decodingTo: .f16, to: destination)
      : try Plan.quantizing(model, Recipe(), to: destination)
  }

  /// Stops a run with one worker when it reports `tensorCount` tensors.
  private func stop(_ plan: Plan, at tensorCount: Int, resuming: Bool) {
    let cancellation = Cancellation()
    var run = Run(plan, workerCount: 1, cancellation: cancellation)
    run.resumes = resuming
    run.onProgress = { if $0.tensorCount >= tensorCount { cancellation.request() } }
    let error = Laws.error { () throws(ModelError) in try run() }
    #expect(error?.kind == .interrupted)
  }

  private func resume(_ plan: Plan) throws -> ProgressLog {
    let log = ProgressLog()
    var run = Run(plan, workerCount: 2)
    run.resumes = true
    run.onProgress = { log.add($0) }
    try run()
    return log
  }

  private func files(_ plan: Plan, in folder: String = "out") throws -> [[UInt8]] {
    try plan.fileNames.map {
      try scratch.bytes(of: plan.format == .gguf ? $0 : "\(folder)/\($0)")
    }
  }

  private func expected(_ model: Model, _ format: Format) throws -> [[UInt8]] {
    let plan = try plan(model, format, as: "whole")
    try Run(plan)()
    return try files(plan, in: "whole")
  }

  @Test("a resumed run gives the same files and does not rewrite complete ones", arguments: formats)
  func same(format: Format) throws {
    let model = try model()
    let plan = try plan(model, format, as: "out")
    #expect(plan.isResumable)
    stop(plan, at: 3, resuming: true)
    #expect(try scratch.names().contains { $0.hasSuffix(".partial") })
    let log = try resume(plan)
    #expect(Set(log.all.map(\.tensor)).isDisjoint(with: ["model.layers.0.a.weight"]))
    #expect(!log.all.isEmpty)
    #expect(try files(plan) == expected(model, format))
    #expect(try !scratch.names().contains { $0.hasSuffix(".partial") })
  }

  @Test("a file that was damaged before the run is resumed is written again", arguments: formats)
  func damaged(format: Format) throws {
    let model = try model()
    let plan = try plan(model, format, as: "out")
    stop(plan, at: 3, resuming: true)
    let partial = try #require(try scratch.names().first { $0.hasSuffix(".partial") })
    let name = "\(partial)/\(plan.fileNames[0])"
    var bytes = try scratch.bytes(of: name)
    bytes[bytes.count / 2] ^= 1
    try scratch.write(bytes, as: name)
    let log = try resume(plan)
    #expect(log.all.contains { $0.tensor == "model.layers.0.a.weight" })
    #expect(try files(plan) == expected(model, format))
  }

  @Test("the files of another job are not reused") func another() throws {
    stop(try plan(try model(), .mlx, as: "out"), at: 3, resuming: true)
    let other = try model(seed: 9)
    let plan = try plan(other, .mlx, as: "out")
    let log = try resume(plan)
    #expect(log.all.contains { $0.tensor == "model.layers.0.a.weight" })
    #expect(try files(plan) == expected(other, .mlx))
  }

  @Test("a stopped run leaves no files unless resuming is enabled") func notResuming() throws {
    stop(try plan(try model(), .mlx, as: "out"), at: 3, resuming: false)
    #expect(try scratch.names() == ["in"])
  }

  @Test("a run that writes one file cannot be resumed") func oneFile() throws {
    let path = scratch.path("out.pleat")
    let plan = try Plan.quantizing(
      try model(), Recipe(), to: Destination(path: path, format: .pleat))
    #expect(!plan.isResumable)
  }
}

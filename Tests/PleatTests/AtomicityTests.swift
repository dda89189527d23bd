import Pleat
import TestSupport
import Testing

/// A run that does not finish leaves no output and does not change an existing one.
@Suite struct AtomicityTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let destinations = [
    Destination(path: "out.pleat", format: .pleat),
    Destination(path: "out.pleat", format: .pleat, compresses: true),
    Destination(path: "out.safetensors", format: .safetensors),
    Destination(path: "folder", format: .safetensors, shardByteCount: 1_000_000),
    Destination(path: "out.gguf", format: .gguf),
    Destination(path: "out.gguf", format: .gguf, shardByteCount: 1_000_000),
  ]

  /// Three tensors of several blocks; if `faulty`, a weight of the last does not fit F16.
  private func model(faulty: Bool = true) throws -> Model {
    let size = [1500, 1024]
    let zeros = [UInt8](repeating: 0, count: size[0] * size[1] * 4)
    var last = zeros
    if faulty { last.replaceSubrange(last.count - 4..<last.count, with: Numbers.f32([1e10])) }
    return try Models.make(
      [
        Toy("a.weight", .f32, size, bytes: zeros), Toy("b.weight", .f32, size, bytes: zeros),
        Toy("c.weight", .f32, size, bytes: last),
      ], in: scratch, metadata: [("general.architecture", "llama")], as: "in/model.safetensors")
  }

  private func inScratch(_ destination: Destination) -> Destination {
    var destination = destination
    destination.path = scratch.path(destination.path)
    return destination
  }

  private func plan(_ model: Model, _ destination: Destination) throws(ModelError) -> Plan {
    destination.format == .safetensors
      ? try Plan.converting(model, decodingTo: .f16, to: destination)
      : try Plan.quantizing(model, try .with(rules: ["c=4"]), to: destination)
  }

  @Test("a failed run leaves no files", arguments: destinations, [1, 3])
  func failure(destination: Destination, workerCount: Int) throws {
    let plan = try plan(try model(), inScratch(destination))
    let error = Laws.error { () throws(ModelError) in try Run(plan, workerCount: workerCount)() }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "c.weight")
    #expect(try scratch.names() == ["in"])
  }

  @Test("a cancelled run leaves no files", arguments: destinations, [0, 1, 4])
  func cancellation(destination: Destination, after blocks: Int) throws {
    let plan = try plan(try model(faulty: false), inScratch(destination))
    let (cancellation, log) = (Cancellation(), ProgressLog())
    if blocks == 0 { cancellation.request() }
    var run = Run(plan, workerCount: 2, cancellation: cancellation)
    run.onProgress = { if log.add($0) == blocks { cancellation.request() } }
    let error = Laws.error { () throws(ModelError) in try run() }
    #expect(error?.kind == .interrupted)
    #expect(try scratch.names() == ["in"])
  }

  @Test("an existing output is refused before any weight is read", arguments: destinations)
  func existing(destination: Destination) throws {
    let plan = try plan(try model(faulty: false), inScratch(destination))
    let isFolder = destination.path == "folder"
    let name = isFolder ? "folder/notes" : plan.fileNames[0]
    try scratch.write([1, 2, 3], as: name)
    let before = try scratch.names()
    let log = ProgressLog()
    var run = Run(plan)
    run.onProgress = { log.add($0) }
    let error = Laws.error { () throws(ModelError) in try run() }
    #expect(error?.kind == .usage)
    #expect(log.all.isEmpty)
    #expect(try scratch.names() == before)
    #expect(try scratch.bytes(of: name) == [1, 2, 3])
  }

  @Test("a failed replacement leaves the existing output unchanged", arguments: destinations)
  func failedReplacement(destination: Destination) throws {
    let plan = try plan(try model(), inScratch(destination))
    let folder = destination.path == "folder" ? "folder/" : ""
    for name in plan.fileNames { try scratch.write([1, 2, 3], as: folder + name) }
    let before = try scratch.names(in: folder)
    let error = Laws.error { () throws(ModelError) in try Run(plan, replacing: true)() }
    #expect(error?.kind == .unsupported)
    #expect(try scratch.names(in: folder) == before)
    for name in plan.fileNames { #expect(try scratch.bytes(of: folder + name) == [1, 2, 3]) }
  }

  @Test("an existing output is replaced on request", arguments: destinations)
  func replacement(destination: Destination) throws {
    let plan = try plan(try model(faulty: false), inScratch(destination))
    let folder = destination.path == "folder" ? "folder/" : ""
    for name in plan.fileNames { try scratch.write([1, 2, 3], as: folder + name) }
    if !folder.isEmpty { try scratch.write([7], as: "folder/model-00009-of-00009.safetensors") }
    let written = try Run(plan, replacing: true)().size.byteCount
    let sizes = try plan.fileNames.map { try scratch.bytes(of: folder + $0).count }
    #expect(sizes.reduce(0, +) == written)
    let names = try scratch.names(in: folder).filter { $0 != "in" }
    #expect(names == plan.fileNames.sorted())
  }

  @Test("a source that shrinks before the run is an I/O error and leaves no files")
  func shrinking() throws {
    _ = try model(faulty: false)
    let name = "in/model.safetensors"
    let file = try DamagedFile(try scratch.bytes(of: name), as: name, in: scratch)
    let plan = try plan(try Model.open(file.path), inScratch(Self.destinations[0]))
    try file.truncate(to: 5_000_000)
    let error = Laws.error { () throws(ModelError) in try Run(plan)() }
    #expect(error?.kind == .io)
    #expect(try scratch.names() == ["in"])
  }
}

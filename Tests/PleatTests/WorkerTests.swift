import Pleat
import TestSupport
import Testing

/// The output bytes of a run do not depend on the number of workers.
@Suite struct WorkerTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let destinations: [(String, Destination)] = [
    ("a raw pleat file", Destination(path: "out.pleat", format: .pleat)),
    ("a compressed pleat file", Destination(path: "out.pleat", format: .pleat, compresses: true)),
    ("shards", Destination(path: "folder", format: .safetensors, shardByteCount: 3_000_000)),
  ]

  /// The bytes of all files that a run writes.
  private func output(
    _ destination: Destination, workerCount: Int, _ plan: (Destination) throws -> Plan
  ) throws -> [String: [UInt8]] {
    let scratch = try Scratch()
    var destination = destination
    destination.path = scratch.path(destination.path)
    try Run(try plan(destination), workerCount: workerCount)()
    let isFolder = destination.path.hasSuffix("folder")
    var files: [String: [UInt8]] = [:]
    for name in try scratch.names(in: isFolder ? "folder" : "") {
      files[name] = try scratch.bytes(of: isFolder ? "folder/\(name)" : name)
    }
    return files
  }

  @Test("the output bytes are the same for 1, 2, 3 and 7 workers", arguments: destinations)
  func sameBytes(what: String, destination: Destination) throws {
    let model = try Models.tinylm()
    let plan = { (destination: Destination) in
      destination.format == .pleat
        ? try Plan.quantizing(model, try .with(rules: ["*.v_proj=keep"]), to: destination)
        : try Plan.converting(model, decodingTo: .bf16, to: destination)
    }
    let first = try output(destination, workerCount: 1, plan)
    #expect(!first.isEmpty)
    for count in [2, 3, 7] {
      let isSame = try output(destination, workerCount: count, plan) == first
      #expect(isSame, "\(count) workers")
    }
  }

  @Test("the gguf output bytes are the same for 1, 2, 3 and 7 workers") func gguf() throws {
    let rows = 3000
    let tensors: [(Toy, typeNumber: UInt32)] = (0..<3).map {
      (Toy("blk.\($0).w.weight", .f16, [rows, 256], bytes: Self.pattern(rows * 512, $0)), 1)
    }
    let model = try Model.open(try scratch.write(ToyFiles.gguf(tensors), as: "m.gguf"))
    let plan = { try Plan.quantizing(model, Recipe(), to: $0) }
    let destination = Destination(path: "out.gguf", format: .gguf, shardByteCount: 500_000)
    let first = try output(destination, workerCount: 1, plan)
    #expect(first.count == 3)
    for count in [2, 3, 7] {
      let isSame = try output(destination, workerCount: count, plan) == first
      #expect(isSame, "\(count) workers")
    }
  }

  /// Bytes whose pairs are finite F16 numbers.
  private static func pattern(_ count: Int, _ seed: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 * 31 + seed * 7) % 251) & 0x3B }
  }

  @Test("progress counts up to the bytes of all tensors") func progress() throws {
    let model = try Models.tinylm()
    let plan = try Plan.quantizing(
      model, Recipe(), to: Destination(path: scratch.path("out.pleat"), format: .pleat))
    let log = ProgressLog()
    var run = Run(plan, workerCount: 3)
    run.onProgress = { log.add($0) }
    try run()
    #expect(log.largest == model.tensorByteCount)
    #expect(log.all.allSatisfy { $0.totalByteCount == model.tensorByteCount })
    #expect(log.all.allSatisfy { $0.totalTensorCount == model.catalog.tensors.count })
  }
}

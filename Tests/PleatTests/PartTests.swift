import Bytes
import Dispatch
import Formats
import Pleat
import TestSupport
import Testing

/// Parts of a plan, written apart, become the output of one run.
@Suite struct PartTests {
  let parts: PartCase

  init() throws { parts = try PartCase() }

  static let ways: [PartCase.Way] = [
    .init(format: .safetensors), .init(format: .safetensors, shardByteCount: 900_000),
    .init(format: .mlx, shardByteCount: 300_000), .init(format: .gguf),
    .init(format: .gguf, shardByteCount: 300_000), .init(format: .pleat),
    .init(format: .gptq),
  ]

  @Test("the output has the bytes of one run, however many parts, in any order", arguments: ways)
  func same(way: PartCase.Way) throws {
    let model = try parts.model()
    let expected = try parts.expected(model, way)
    for count in [1, 2, 7] {
      let folder = "\(count)"
      let plan = try parts.plan(model, way, in: folder)
      for part in (1...count).reversed() {
        try parts.run(part, of: count, plan, way, in: folder)
      }
      let outcome = try PartFinish(plan, at: parts.path(way, in: folder))()
      #expect(try parts.files(way, in: folder) == expected, "\(count) parts")
      #expect(outcome.size.byteCount == plan.byteCount)
    }
  }

  @Test("parts that run at the same time give the same bytes", arguments: ways)
  func concurrent(way: PartCase.Way) throws {
    let model = try parts.model()
    let expected = try parts.expected(model, way)
    let plan = try parts.plan(model, way, in: "a")
    DispatchQueue.concurrentPerform(iterations: 7) { index in
      #expect(throws: Never.self) { try parts.run(index + 1, of: 7, plan, way, in: "a") }
    }
    try PartFinish(plan, at: parts.path(way, in: "a"))()
    #expect(try parts.files(way, in: "a") == expected)
  }

  @Test("a part that was stopped goes on from its finished blocks", arguments: ways)
  func goingOn(way: PartCase.Way) throws {
    let model = try parts.model()
    let expected = try parts.expected(model, way)
    let plan = try parts.plan(model, way, in: "a")
    let cancellation = Cancellation()
    var run = PartRun(
      try PartNumber(1, of: 2), of: plan, to: parts.path(way, in: "a"), workerCount: 1,
      cancellation: cancellation)
    run.onProgress = { _ in cancellation.request() }
    #expect(Laws.error { () throws(ModelError) in try run() }?.kind == .interrupted)
    let outcome = try parts.run(1, of: 2, plan, way, in: "a")
    #expect(outcome.keptBlockCount > 0 && outcome.keptBlockCount < outcome.blockCount)
    try parts.run(2, of: 2, plan, way, in: "a")
    try PartFinish(plan, at: parts.path(way, in: "a"))()
    #expect(try parts.files(way, in: "a") == expected)
  }

  @Test("a complete part is not written again") func complete() throws {
    let way = Self.ways[3]
    let plan = try parts.plan(try parts.model(), way, in: "a")
    try parts.run(1, of: 2, plan, way, in: "a")
    let outcome = try parts.run(1, of: 2, plan, way, in: "a")
    #expect(outcome.keptBlockCount == outcome.blockCount && outcome.blockCount > 0)
  }

  @Test("missing and unfinished parts are named, with the command, and nothing gets its name")
  func missing() throws {
    let way = Self.ways[3]
    let plan = try parts.plan(try parts.model(), way, in: "a")
    for part in [1, 2, 4] { try parts.run(part, of: 5, plan, way, in: "a") }
    let error = try #require(parts.finishError(plan, way, in: "a"))
    #expect(error.kind == .usage)
    #expect(error.found == "missing or not complete: 3, 5")
    #expect(error.hint?.hasSuffix("pleat quantize in --part 3/5") == true)
    #expect(try parts.files(way, in: "a").isEmpty)
  }

  @Test("damaged bytes are found, and mended by running the part again", arguments: ways)
  func damaged(way: PartCase.Way) throws {
    let model = try parts.model()
    let expected = try parts.expected(model, way)
    let plan = try parts.plan(model, way, in: "a")
    for part in 1...3 { try parts.run(part, of: 3, plan, way, in: "a") }
    let output = "a/.\(way.name).parts/output"
    let name = try #require(try Files.names(in: parts.scratch.path(output)).last)
    var bytes = try parts.scratch.bytes(of: "\(output)/\(name)")
    // No padding: the last tensor of each file ends at its end, or before the header of a pleat file.
    let place = way.format == .pleat ? bytes.count / 2 : bytes.count - 40
    bytes[place] ^= 4
    try parts.scratch.write(bytes, as: "\(output)/\(name)")
    let error = try #require(parts.finishError(plan, way, in: "a"))
    #expect(error.found?.hasPrefix("damaged: ") == true)
    let part = try #require(error.found.flatMap { Int($0.suffix(1)) })
    let outcome = try parts.run(part, of: 3, plan, way, in: "a")
    #expect(outcome.keptBlockCount < outcome.blockCount)
    try PartFinish(plan, at: parts.path(way, in: "a"))()
    #expect(try parts.files(way, in: "a") == expected)
  }

  @Test("parts of another plan, or another number of parts, are refused") func another() throws {
    let way = Self.ways[3]
    let plan = try parts.plan(try parts.model(), way, in: "a")
    try parts.run(1, of: 2, plan, way, in: "a")
    let others = [
      (plan, 3), (try parts.plan(try parts.model(), way, in: "a", bits: 5), 2),
      (try parts.plan(try parts.model(seed: 9), way, in: "a"), 2),
    ]
    for (other, count) in others {
      let error = Laws.error { () throws(ModelError) in
        try PartRun(
          try PartNumber(2, of: count), of: other, to: parts.path(way, in: "a"))()
      }
      #expect(error?.kind == .usage)
      #expect(error?.hint?.contains("begin anew") == true)
    }
    #expect(parts.finishError(others[1].0, way, in: "a")?.kind == .usage)
  }

  @Test("an output that exists stays unless it is replaced", arguments: ways)
  func existing(way: PartCase.Way) throws {
    let model = try parts.model()
    let expected = try parts.expected(model, way)
    let old = try parts.plan(try parts.model(seed: 9), way, in: "a")
    try Run(old)()
    let before = try parts.files(way, in: "a")
    let plan = try parts.plan(try parts.model(), way, in: "a")
    for part in 1...2 { try parts.run(part, of: 2, plan, way, in: "a") }
    #expect(parts.finishError(plan, way, in: "a")?.kind == .usage)
    #expect(try parts.files(way, in: "a") == before)
    try PartFinish(plan, at: parts.path(way, in: "a"), replacing: true)()
    #expect(try parts.files(way, in: "a") == expected)
  }

  @Test("a compressed output is refused") func compressed() throws {
    let destination = Destination(
      path: parts.scratch.path("out.pleat"), format: .pleat, compresses: true)
    let plan = try Plan.quantizing(try parts.model(), Recipe(), to: destination)
    let error = Laws.error { () throws(ModelError) in
      try PartRun(try PartNumber(1, of: 2), of: plan, to: destination.path)()
    }
    #expect(error?.kind == .usage && error?.found == "--compress")
  }

  @Test("folds in parts give the bytes of one run") func folds() throws {
    let folder = try Folder()
    let toys = [
      Toy("a.weight", .f16, [2100, 256], seed: 601), Toy("b.weight", .f16, [40, 256], seed: 602),
    ]
    let source = try Models.make(
      toys, in: folder.scratch, metadata: [("general.architecture", "llama")])
    let base = try folder.quantize(source, try .with(scheme: "minmax"), to: "base.pleat")
    let factors = [ToyFactors("a", 2100, 8, seed: 604), ToyFactors("b", 40, 4, seed: 605)]
    let adapter = try folder.applied(factors, pooling: .sum)
    let whole = try folder.fold([adapter], into: base, to: "whole.pleat")
    #expect(whole.report.total.sumOfSquaredErrors > 0)
    for count in [1, 2, 3, 8] {
      let path = folder.scratch.path("parts.pleat")
      let plan = try Plan.folding([adapter], into: base, to: folder.destination("parts.pleat"))
      for part in (1...count).reversed() {
        let run = PartRun(try PartNumber(part, of: count), of: plan, to: path)
        let outcome = try run()
        // A run that finds the part complete reports the same.
        #expect(try run().fold == outcome.fold)
        if count == 1 { #expect(outcome.fold == whole.report) }
      }
      // Sums of floating-point numbers, which depend on no part.
      #expect(try PartFinish(plan, at: path, replacing: true)().fold == whole.report)
      #expect(
        try folder.scratch.bytes(of: "parts.pleat") == folder.scratch.bytes(of: "whole.pleat"))
    }
  }

  @Test("blocks of an input that changed while it was read are not listed") func changed() throws {
    let way = Self.ways[3]
    let plan = try parts.plan(try parts.model(), way, in: "a")
    let model = try parts.scratch.bytes(of: "in/model.safetensors")
    var run = PartRun(
      try PartNumber(1, of: 2), of: plan, to: parts.path(way, in: "a"), workerCount: 1)
    // The same bytes, but they were written meanwhile.
    let scratch = parts.scratch
    run.onProgress = { _ in _ = try? scratch.write(model, as: "in/model.safetensors") }
    #expect(Laws.error { () throws(ModelError) in try run() }?.kind == .io)
    let journal = try parts.scratch.bytes(of: "a/.out.gguf.parts/part-1")
    #expect(!String(decoding: journal, as: UTF8.self).contains(" block "))
  }
}

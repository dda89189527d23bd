import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Workers, reports and histories of all kinds of folds.
@Suite struct FoldRunTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// Enough rows for several blocks.
  private static let rowCount = 2100

  private func source() throws -> Model {
    try Models.make(
      [
        Toy("a.weight", .f16, [Self.rowCount, 256], seed: 601),
        Toy("b.weight", .f16, [40, 256], seed: 602), Toy("norm.weight", .f32, [9], seed: 603),
      ], in: folder.scratch, metadata: [("general.architecture", "llama")],
      as: "source.safetensors")
  }

  private static let pooled = [
    ToyFactors("a", rowCount, 8, seed: 604), ToyFactors("b", 40, 4, seed: 605),
  ]
  private static let plain = [
    ToyFactors("a", rowCount, 256, seed: 606), ToyFactors("b", 40, 256, seed: 607),
  ]

  /// A base model, an adapter and options for every kind of fold.
  static let ways: [(name: String, scheme: String?, isPooled: Bool, options: FoldOptions)] = [
    ("a merge", nil, false, FoldOptions()), ("a pooled merge", nil, true, FoldOptions()),
    ("biases", "minmax", true, FoldOptions()), ("new biases", "symmetric", true, FoldOptions()),
    ("other biases", "minmax", true, .with(biasType: .f32)),
    ("zero points", "zeropoint", true, .with(rounds: true)),
    ("wider codes", "zeropoint", true, .with(widenedBits: 8)),
    ("codes", "minmax", false, .with(requantizes: true)),
  ]

  private func prepared(
    _ way: (name: String, scheme: String?, isPooled: Bool, options: FoldOptions)
  ) throws -> (base: Model, applied: AppliedAdapter) {
    var base = try source()
    if let scheme = way.scheme {
      base = try folder.quantize(base, try .with(scheme: scheme), to: "base.pleat")
    }
    let applied =
      way.isPooled
      ? try folder.applied(Self.pooled, pooling: .sum) : try folder.applied(Self.plain)
    return (base, applied)
  }

  @Test("bytes and report are the same for 1, 2 and 5 workers", arguments: ways)
  func workers(
    way: (name: String, scheme: String?, isPooled: Bool, options: FoldOptions)
  ) throws {
    let (base, applied) = try prepared(way)
    let name = way.scheme == nil ? "out.safetensors" : "out.pleat"
    var found: [(bytes: [UInt8], report: FoldReport)] = []
    for count in [1, 2, 5] {
      let result = try folder.fold([applied], into: base, to: name, way.options, workerCount: count)
      found.append((try folder.scratch.bytes(of: name), result.report))
      try folder.scratch.remove(name)
    }
    for other in found.dropFirst() {
      let isSame = other.bytes == found[0].bytes
      #expect(isSame)
      #expect(other.report == found[0].report)
    }
    #expect(found[0].report.tensors.map(\.name) == ["a.weight", "b.weight"])
  }

  @Test("the measured error before a run is the reported error after it", arguments: ways)
  func measured(
    way: (name: String, scheme: String?, isPooled: Bool, options: FoldOptions)
  ) throws {
    let (base, applied) = try prepared(way)
    let name = way.scheme == nil ? "out.safetensors" : "out.pleat"
    let before = try folder.scratch.names()
    let plan = try Plan.folding(
      [applied], into: base,
      to: Destination(
        path: folder.scratch.path(name), format: try Formats.named(Files.suffix(of: name))),
      options: way.options)
    let measured = try Run(plan, workerCount: 3).measured()
    #expect(try folder.scratch.names() == before)
    #expect(try Run(plan)().fold == measured)
    #expect(measured.total.adapterError > 0 && measured.total.adapterError < 2)
    let worst = measured.tensors.map(\.measurement.adapterError).max()
    #expect(measured.worst?.measurement.adapterError == worst)
  }

  @Test("the reported error is that computed from the files in doubles", arguments: ways)
  func reported(
    way: (name: String, scheme: String?, isPooled: Bool, options: FoldOptions)
  ) throws {
    let (base, applied) = try prepared(way)
    let name = way.scheme == nil ? "out.safetensors" : "out.pleat"
    let result = try folder.fold([applied], into: base, to: name, way.options)
    for (tensor, factors) in zip(["a.weight", "b.weight"], way.isPooled ? Self.pooled : Self.plain)
    {
      let before = try weights(base, tensor)
      let after = try weights(result.model, tensor)
      var (errors, squares) = (0.0, 0.0)
      for index in before.indices {
        let group = index % 256 / (256 / factors.width)
        let delta = Double(3 * factors.float(index / 256, group))
        let error = after[index] - before[index] - delta
        errors += error * error
        squares += delta * delta
      }
      let wanted = (errors / squares).squareRoot()
      let found = try #require(result.report.tensors.first { $0.name == tensor })
      let difference = (found.measurement.adapterError - wanted).magnitude
      let isTiny = max(wanted, found.measurement.adapterError) < 1e-6
      #expect(difference <= 1e-6 * wanted || isTiny, "\(tensor): \(difference) of \(wanted)")
    }
  }

  /// All weights of a tensor, without rounding.
  private func weights(_ model: Model, _ name: String) throws -> [Double] {
    if let groups = try StoredGroups(model, name) {
      return groups.codes.indices.map(groups.weight)
    }
    return Numbers.floats(f16: try model.part(.values, of: name)).map(Double.init)
  }

  // MARK: - Quantizing with an adapter

  @Test(
    "quantizing with a pooled adapter equals quantizing, then folding", arguments: [2, 4, 8],
    Grouping.supportedParameters)
  func quantizing(bits: Int, parameters: ScalarType) throws {
    let applied = try folder.applied(Self.pooled, pooling: .mean)
    let recipe = try Recipe.with(bits: bits, parameters: parameters)
    let base = try folder.quantize(try source(), recipe, to: "base.pleat")
    let folded = try folder.fold([applied], into: base, to: "folded.pleat")
    let direct = try folder.quantize(try source(), recipe, to: "direct.pleat", adding: [applied])
    let isSame = try direct.allParts() == folded.model.allParts()
    #expect(isSame)
  }

  @Test("quantizing to gguf with a pooled adapter equals quantizing, then folding")
  func quantizingGGUF() throws {
    let applied = try folder.applied(Self.pooled, pooling: .mean)
    let recipe = try Recipe.with(scheme: "minmax")
    let base = try folder.quantize(try source(), recipe, to: "base.gguf")
    let folded = try folder.fold([applied], into: base, to: "folded.gguf")
    let direct = try folder.quantize(try source(), recipe, to: "direct.gguf", adding: [applied])
    let isSame = try direct.allParts() == folded.model.allParts()
    #expect(isSame)
  }

  @Test(
    "quantizing with LoRA equals folding into plain weights, then quantizing",
    arguments: Recipe.schemeNames)
  func quantizingLoRA(scheme: String) throws {
    let applied = try folder.applied([ToyFactors("b", 40, 256, seed: 608)])
    let source = try Models.make(
      [Toy("b.weight", .f32, [40, 256], seed: 609)], in: folder.scratch, as: "source.safetensors")
    let merged = try folder.fold([applied], into: source, to: "merged.safetensors")
    let recipe = try Recipe.with(scheme: scheme)
    let expected = try folder.quantize(merged.model, recipe, to: "1.pleat")
    let direct = try folder.quantize(source, recipe, to: "2.pleat", adding: [applied])
    #expect(try direct.allParts() == expected.allParts())
  }

  // MARK: - Histories

  @Test("every format stores folds in its history", arguments: ["safetensors", "gguf", "pleat"])
  func histories(format: String) throws {
    let base = try source()
    let applied = try folder.applied(Self.plain, scale: 0.5)
    let result = try folder.fold([applied], into: base, to: "out.\(format)")
    let entry = try #require(result.model.history.last)
    #expect(entry["action"]?.string == "fold")
    let adapter = try #require(entry["adapters"]?.array?.first)
    #expect(adapter["name"]?.string == "adapter")
    #expect(adapter["crc32c"]?.string == applied.file.checksum)
    #expect(adapter["scale"]?.double == 0.5)
    #expect(adapter["pooling"] == nil)
    let text = result.model.catalog.metadata["pleat.history"]?.text
    #expect((text == nil) == (format == "pleat"))
    if let text { #expect(try JSONParser.parse(Array(text.utf8), file: "").array?.count == 1) }
  }

  @Test(
    "folding an adapter again has a note, unless the first fold was undone",
    arguments: ["safetensors", "gguf", "pleat"])
  func repeated(format: String) throws {
    let applied = try folder.applied(Self.plain)
    func hasNote(_ result: Folder.Result) -> Bool {
      result.plan.notes.contains { $0.contains("already folded into the base model") }
    }
    let first = try folder.fold([applied], into: try source(), to: "1.\(format)")
    #expect(!hasNote(first))
    var back = applied
    back.scale = -1
    let second = try folder.fold([back], into: first.model, to: "2.\(format)")
    #expect(!hasNote(second))
    #expect(!hasNote(try folder.fold([applied], into: second.model, to: "3.\(format)")))
    #expect(hasNote(try folder.fold([applied], into: first.model, to: "4.\(format)")))
    let other = try folder.applied([Self.plain[1]], as: "other")
    #expect(!hasNote(try folder.fold([other], into: first.model, to: "5.\(format)")))
  }

  @Test("a fold made while quantizing counts as folded") func repeatedAfterQuantizing() throws {
    let applied = try folder.applied(Self.pooled, pooling: .sum)
    let base = try folder.quantize(try source(), Recipe(), to: "base.pleat", adding: [applied])
    let result = try folder.fold([applied], into: base, to: "out.pleat")
    #expect(result.plan.notes.contains { $0.contains("already folded into the base model") })
  }
}

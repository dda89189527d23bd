import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// What holds of every fold, whatever is folded into what: workers, reports and histories.
@Suite struct FoldRunTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  /// Enough rows for several blocks of a checkpoint, and an adapter for all of them.
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

  /// A base, factors and options for every way to fold.
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
  ) throws -> (base: Model, use: AdapterUse) {
    var base = try source()
    if let scheme = way.scheme {
      base = try folder.quantize(base, try .with(scheme: scheme), to: "base.pleat")
    }
    let use =
      way.isPooled
      ? try folder.use(Self.pooled, pooling: .sum) : try folder.use(Self.plain)
    return (base, use)
  }

  @Test("bytes and report are the same for 1, 2 and 5 workers", arguments: ways)
  func workers(
    way: (name: String, scheme: String?, isPooled: Bool, options: FoldOptions)
  ) throws {
    let (base, use) = try prepared(way)
    let name = way.scheme == nil ? "out.safetensors" : "out.pleat"
    var found: [(bytes: [UInt8], report: FoldReport)] = []
    for count in [1, 2, 5] {
      let result = try folder.fold([use], into: base, to: name, way.options, workerCount: count)
      found.append((try folder.scratch.bytes(of: name), result.report))
      try folder.scratch.remove(name)
    }
    for other in found.dropFirst() {
      let isSame = other.bytes == found[0].bytes
      #expect(isSame)
      #expect(other.report == found[0].report)
    }
    #expect(found[0].report.modules.map(\.name) == ["a.weight", "b.weight"])
  }

  @Test("what is measured beforehand is what a run reports", arguments: ways)
  func measured(
    way: (name: String, scheme: String?, isPooled: Bool, options: FoldOptions)
  ) throws {
    let (base, use) = try prepared(way)
    let name = way.scheme == nil ? "out.safetensors" : "out.pleat"
    let before = try folder.scratch.names()
    let plan = try Plan.folding(
      [use], into: base,
      to: Destination(
        path: folder.scratch.path(name), format: try Formats.named(Files.suffix(of: name))),
      options: way.options)
    let measured = try Run(plan, workerCount: 3).measured()
    #expect(try folder.scratch.names() == before)
    #expect(try Run(plan)().fold == measured)
    #expect(measured.total.adapterError > 0 && measured.total.adapterError < 2)
    let worst = measured.modules.map(\.measurement.adapterError).max()
    #expect(measured.worst?.measurement.adapterError == worst)
  }

  @Test("the reported error is that of the files, in doubles", arguments: ways)
  func reported(
    way: (name: String, scheme: String?, isPooled: Bool, options: FoldOptions)
  ) throws {
    let (base, use) = try prepared(way)
    let name = way.scheme == nil ? "out.safetensors" : "out.pleat"
    let result = try folder.fold([use], into: base, to: name, way.options)
    for (tensor, factors) in zip(["a.weight", "b.weight"], way.isPooled ? Self.pooled : Self.plain)
    {
      let before = try weights(base, tensor)
      let after = try weights(result.model, tensor)
      var (errors, squares) = (0.0, 0.0)
      for place in before.indices {
        let group = place % 256 / (256 / factors.width)
        let delta = Double(3 * factors.float(place / 256, group))
        let error = after[place] - before[place] - delta
        errors += error * error
        squares += delta * delta
      }
      let wanted = (errors / squares).squareRoot()
      let found = try #require(result.report.modules.first { $0.name == tensor })
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
    return Numbers.floats(f16: try model.parts(name)[.values] ?? []).map(Double.init)
  }

  // MARK: - Quantizing with an adapter

  @Test(
    "quantizing with a pooled adapter is quantizing, then folding", arguments: [2, 4, 8],
    Grouping.supportedParameters)
  func quantizing(bits: Int, parameters: ScalarType) throws {
    let use = try folder.use(Self.pooled, pooling: .mean)
    let recipe = try Recipe.with(bits: bits, parameters: parameters)
    let base = try folder.quantize(try source(), recipe, to: "base.pleat")
    let folded = try folder.fold([use], into: base, to: "folded.pleat")
    let direct = try folder.quantize(try source(), recipe, to: "direct.pleat", adding: [use])
    let isSame = try direct.allParts() == folded.model.allParts()
    #expect(isSame)
  }

  @Test("quantizing with a pooled adapter to gguf is quantizing, then folding")
  func quantizingGGUF() throws {
    let use = try folder.use(Self.pooled, pooling: .mean)
    let recipe = try Recipe.with(scheme: "minmax")
    let base = try folder.quantize(try source(), recipe, to: "base.gguf")
    let folded = try folder.fold([use], into: base, to: "folded.gguf")
    let direct = try folder.quantize(try source(), recipe, to: "direct.gguf", adding: [use])
    let isSame = try direct.allParts() == folded.model.allParts()
    #expect(isSame)
  }

  @Test(
    "quantizing with LoRA is folding into floats, then quantizing", arguments: Recipe.schemeNames)
  func quantizingLoRA(scheme: String) throws {
    let use = try folder.use([ToyFactors("b", 40, 256, seed: 608)])
    let source = try Models.make(
      [Toy("b.weight", .f32, [40, 256], seed: 609)], in: folder.scratch, as: "source.safetensors")
    let merged = try folder.fold([use], into: source, to: "merged.safetensors")
    let recipe = try Recipe.with(scheme: scheme)
    let expected = try folder.quantize(merged.model, recipe, to: "1.pleat")
    let direct = try folder.quantize(source, recipe, to: "2.pleat", adding: [use])
    #expect(try direct.allParts() == expected.allParts())
  }

  // MARK: - Histories

  @Test("a history tells of folds in every format", arguments: ["safetensors", "gguf", "pleat"])
  func histories(format: String) throws {
    let base = try source()
    let use = try folder.use(Self.plain, scale: 0.5)
    let result = try folder.fold([use], into: base, to: "out.\(format)")
    let entry = try #require(result.model.history.last)
    #expect(entry["action"]?.string == "fold")
    let adapter = try #require(entry["adapters"]?.array?.first)
    #expect(adapter["name"]?.string == "adapter")
    #expect(adapter["crc32c"]?.string == use.file.checksum)
    #expect(adapter["scale"]?.double == 0.5)
    #expect(adapter["pooling"] == nil)
    let text = result.model.catalog.metadata["pleat.history"]?.text
    #expect((text == nil) == (format == "pleat"))
    if let text { #expect(try JSONParser.parse(Array(text.utf8), file: "").array?.count == 1) }
  }

  @Test(
    "a repeated fold is noted, and one that is taken back is not",
    arguments: ["safetensors", "gguf", "pleat"])
  func repeated(format: String) throws {
    let use = try folder.use(Self.plain)
    func hasNote(_ result: Folder.Result) -> Bool {
      result.plan.notes.contains { $0.contains("folded into the base already") }
    }
    let first = try folder.fold([use], into: try source(), to: "1.\(format)")
    #expect(!hasNote(first))
    var back = use
    back.scale = -1
    let second = try folder.fold([back], into: first.model, to: "2.\(format)")
    #expect(!hasNote(second))
    #expect(!hasNote(try folder.fold([use], into: second.model, to: "3.\(format)")))
    #expect(hasNote(try folder.fold([use], into: first.model, to: "4.\(format)")))
    let other = try folder.use([Self.plain[1]], as: "other")
    #expect(!hasNote(try folder.fold([other], into: first.model, to: "5.\(format)")))
  }

  @Test("a fold that was made in quantizing is known too") func repeatedAfterQuantizing() throws {
    let use = try folder.use(Self.pooled, pooling: .sum)
    let base = try folder.quantize(try source(), Recipe(), to: "base.pleat", adding: [use])
    let result = try folder.fold([use], into: base, to: "out.pleat")
    #expect(result.plan.notes.contains { $0.contains("folded into the base already") })
  }
}

import Adapters
import Bytes
import Formats
import Pleat
import TensorModel

/// The table of fold decisions in `formats/adapters.md`.
///
/// A row is a stored weight and an output format. A column is a kind of adapter.
struct AdapterTable {
  /// A stored weight and the output format.
  struct Row {
    var name: String
    var encoding: Encoding
    var format: Format

    init(_ name: String, _ encoding: Encoding, _ format: Format) {
      (self.name, self.encoding, self.format) = (name, encoding, format)
    }

    static func groups(
      _ name: String, _ offset: Grouping.Offset, bits: Int = 4, _ parameters: ScalarType = .f16,
      in format: Format = .pleat
    ) -> Row {
      let grouping = Grouping(bits: bits, groupSize: 32, offset: offset, parameters: parameters)
      return Row(name, .grouped(grouping), format)
    }
  }

  /// A decision of the planner.
  struct Cell: Equatable {
    /// The ways to make the fold; empty if it is refused.
    var ways: [Way] = []
    /// Why the fold is refused; nil if it is possible.
    var refusal: String?
  }

  /// A way to make a fold.
  struct Way: Equatable {
    /// The option that permits it; nil if none is needed.
    var option: String?
    /// The new encoding of the weight; nil if it does not change.
    var stored: String?
  }

  static let rows: [Row] = [
    Row("F16", .plain(.f16), .safetensors),
    Row("BF16", .plain(.bf16), .safetensors),
    Row("F32", .plain(.f32), .safetensors),
    Row("F64", .plain(.f64), .safetensors),
    Row("I8 and other plain types", .plain(.i8), .safetensors),
    .groups("groups, F16 bias", .bias),
    .groups("groups, BF16 bias", .bias, .bf16),
    .groups("groups, F32 bias", .bias, .f32),
    .groups("groups, no offset", .none),
    .groups("groups, zero point, below 8 bits", .zeroPoint),
    .groups("groups, zero point, 8 bits", .zeroPoint, bits: 8),
    .groups("the same with 4 bits, `--to gguf`", .zeroPoint, in: .gguf),
    .groups("Q4_0", .none, in: .gguf),
    .groups("Q4_1", .bias, in: .gguf),
    .groups("Q5_0", .none, bits: 5, in: .gguf),
    .groups("Q5_1", .bias, bits: 5, in: .gguf),
    .groups("Q8_0", .none, bits: 8, in: .gguf),
    .groups("Q8_0, `--to pleat`", .none, bits: 8),
    Row(
      "Q2_K, Q4_K, Q5_K", .foreign(BlockLayout(name: "Q4_K", elementCount: 256, byteCount: 144)),
      .gguf),
    Row(
      "Q6_K and other blocks without offsets",
      .foreign(BlockLayout(name: "Q6_K", elementCount: 256, byteCount: 210)), .gguf),
  ]

  private static let shape = Shape(64, 256)

  /// The kinds of adapters, each with its name and its change of the weight.
  private let kinds: [(name: String, change: PairedChange)]

  /// Reads an adapter of each kind and pairs it with the weight.
  init() throws(ModelError) {
    let a: (String, [Int]) = ("a.lora_A.weight", [2, 256])
    let b: (String, [Int]) = ("a.lora_B.weight", [64, 2])
    func pooled(_ size: Int) throws(ModelError) -> Adapter {
      try Self.adapter(
        Self.config([.init("use_qalora", true), .init("qalora_group_size", JSONValue(size))]),
        [(a.0, [2, 256 / size]), b])
    }
    let adapters: [(String, Adapter)] = [
      ("LoRA", try Self.adapter(Self.config(), [a, b])),
      (
        "LoRA of embeddings",
        try Self.adapter(
          Self.config(), [("a.lora_embedding_A", [2, 64]), ("a.lora_embedding_B", [256, 2])])
      ),
      ("QA-LoRA, whole groups", try pooled(64)),
      ("QA-LoRA, finer groups", try pooled(16)),
      (
        "DoRA",
        try Self.adapter(
          Self.config([.init("use_dora", true)]), [a, b, ("a.lora_magnitude_vector", [64])])
      ),
      ("replaced (`modules_to_save`)", try Self.adapter(Self.config(), [("a.weight", [64, 256])])),
    ]
    let base = TensorInfo(name: "a.weight", shape: Self.shape, encoding: .plain(.f16))
    let pairing = Pairing([BaseTensor(index: 0, info: base)])
    var kinds: [(String, PairedChange)] = []
    for (name, adapter) in adapters {
      for change in try pairing.pair(adapter, Pairing.Use(index: 0)) {
        kinds.append((name, change))
      }
    }
    self.kinds = kinds
  }

  /// The config of an adapter of rank 2.
  static func config(_ more: [JSONValue.Member] = []) -> JSONValue {
    .object(
      [.init("peft_type", "LORA"), .init("r", 2), .init("lora_alpha", 4)] + more)
  }

  /// A PEFT adapter with tensors of the given shapes.
  static func adapter(
    _ config: JSONValue, _ tensors: [(name: String, extents: [Int])]
  ) throws(ModelError) -> Adapter {
    var infos: [TensorInfo] = []
    for (name, extents) in tensors {
      guard let shape = Shape(validating: extents) else {
        throw ModelError(.malformed, "invalid shape", tensor: name, found: "\(extents)")
      }
      infos.append(
        TensorInfo(name: "base_model.model.\(name)", shape: shape, encoding: .plain(.f32)))
    }
    let contents = AdapterContents(path: "adapter", config: config, tensors: infos)
    return try AdapterKind(contents).read(contents)
  }

  // MARK: - Decisions

  /// The decisions of a row, in the order of the columns.
  func cells(of row: Row) throws(ModelError) -> [Cell] {
    var cells: [Cell] = []
    for kind in kinds { cells.append(try Self.cell(row, kind.change)) }
    return cells
  }

  private static func cell(_ row: Row, _ change: PairedChange) throws(ModelError) -> Cell {
    let info = TensorInfo(name: "a.weight", shape: shape, encoding: row.encoding)
    var (widening, retyping) = (FoldOptions(), FoldOptions())
    widening.widenedBits = 8
    retyping.biasType = .f16
    let trials = [
      (nil, FoldOptions()), ("--widen 8", widening), ("--bias-type F16", retyping),
    ]
    var cell = Cell()
    for (option, options) in trials {
      let decision = try FoldPlanner(row.format, options).decide(info, [change])
      switch verdict(decision, row) {
      case .exact:
        cell.ways.append(Way(option: option, stored: stored(decision, row)))
        // If the fold needs no option, the options are not tried.
        if option == nil { return cell }
      case .rounded(_, let permit):
        guard option == nil else { continue }
        cell.ways.append(Way(option: permit.rawValue, stored: stored(decision, row)))
      case .refused(let reason): cell.refusal = cell.refusal ?? reason
      }
    }
    if !cell.ways.isEmpty { cell.refusal = nil }
    return cell
  }

  /// The verdict of the planner, or a refusal if the format cannot store the result.
  private static func verdict(
    _ decision: FoldPlanner.Decision, _ row: Row
  ) -> FoldPlanner.Verdict {
    if case .refused = decision.verdict { return decision.verdict }
    if case .refused(let reason) = row.format.admission(of: decision.wish.target) {
      return .refused(reason)
    }
    return decision.verdict
  }

  /// A short name of the new encoding; nil if the encoding does not change.
  private static func stored(_ decision: FoldPlanner.Decision, _ row: Row) -> String? {
    let target = decision.wish.target
    guard target.encoding != row.encoding, case .grouped(let grouping) = target.encoding else {
      return nil
    }
    if row.format == .gguf {
      return row.format.codec.parts(of: target).first?.encoding.description
    }
    if case .grouped(let source) = row.encoding, source.bits != grouping.bits {
      return "\(grouping.bits) bits"
    }
    return "\(grouping.parameters.name) \(grouping.offset.rawValue)"
  }

  // MARK: - Text

  /// The table, followed by a table of the reasons for refusals.
  var text: String {
    get throws(ModelError) {
      var reasons: [String] = []
      var lines = [
        "| stored as | " + kinds.map(\.name).joined(separator: " | ") + " |",
        "|---" + kinds.map { _ in "|---" }.joined() + "|",
      ]
      for row in Self.rows {
        var texts: [String] = []
        for cell in try cells(of: row) { texts.append(Self.text(cell, &reasons)) }
        lines.append("| \(row.name) | " + texts.joined(separator: " | ") + " |")
      }
      lines += ["", "| refused | because |", "|---|---|"]
      for (index, reason) in reasons.enumerated() {
        lines.append("| (\(index + 1)) | \(reason) |")
      }
      return lines.joined(separator: "\n") + "\n"
    }
  }

  private static func text(_ cell: Cell, _ reasons: inout [String]) -> String {
    if let refusal = cell.refusal {
      if !reasons.contains(refusal) { reasons.append(refusal) }
      return "refused (\((reasons.firstIndex(of: refusal) ?? 0) + 1))"
    }
    return cell.ways.map { way in
      (way.option.map { "`\($0)`" } ?? "exact") + (way.stored.map { " → \($0)" } ?? "")
    }.joined(separator: ", or ")
  }
}

internal import Adapters
internal import Bytes
package import Formats
internal import TensorModel

/// An adapter that is to be stored in a model, and where its bytes are now.
package struct Attachment: Sendable {
  /// What the model will say of it; its range is set when the places are known.
  package var adapter: AttachedAdapter
  /// The model, or adapter file, that holds its tensors.
  package var model: Model
  /// The indices of its stored tensors there.
  package var stored: [Int]

  /// The adapters that a model carries already.
  init(_ adapter: AttachedAdapter, of model: Model) {
    self.adapter = adapter
    self.model = model
    stored = Array(adapter.stored)
  }

  /// An adapter of a file, under a name; how it pools is kept where it does.
  init(_ use: AdapterUse, name: String, pools: Bool) {
    let pooling = use.file.adapter.pooling ?? use.pooling
    adapter = AttachedAdapter(
      name: name, kind: use.file.adapter.kind.rawValue, config: use.file.config,
      pooling: pools ? pooling?.rawValue : nil, checksum: use.file.checksum, stored: 0..<0)
    model = use.file.model
    stored = use.file.stored
  }

  /// The tensors to store, in order.
  var tensors: [StoredTensor] {
    stored.map { index in
      var tensor = model.reader.stored[index]
      tensor.storedByteCount = tensor.byteCount
      tensor.blockByteCount = min(tensor.byteCount, Self.pieceByteCount(of: tensor))
      return tensor
    }
  }

  /// What is copied of a tensor at a time: whole blocks, whose numbers a reader may have to swap.
  static func pieceByteCount(of tensor: StoredTensor) -> Int {
    let block = max(1, tensor.encoding.block.byteCount)
    return max(block, (1 << 20) / block * block)
  }
}

extension AdapterFile {
  /// An adapter that a model carries; nil when it carries none of that name.
  ///
  /// Throws what making sense of its tensors throws.
  public init?(attached name: String, in model: Model) throws(ModelError) {
    guard let adapter = model.reader.attached.first(where: { $0.name == name }) else { return nil }
    let tensors = adapter.stored.map { index in
      let stored = model.reader.stored[index]
      return TensorInfo(name: stored.name, shape: stored.shape, encoding: stored.encoding)
    }
    let pooling = adapter.pooling.flatMap(Pooling.init(rawValue:))
    guard pooling != nil || adapter.pooling == nil else {
      throw ModelError(
        .malformed, "the way an attached adapter pools is not known", file: model.path,
        tensor: name, expected: Pooling.allCases.map(\.rawValue).joined(separator: ", "),
        found: adapter.pooling)
    }
    let contents = AdapterContents(
      path: name, config: adapter.config, tensors: tensors, pooling: pooling)
    try self.init(
      contents, name: name, checksum: adapter.checksum, model, stored: Array(adapter.stored))
    isAttached = true
  }
}

extension Plan {
  /// Plans to store adapters in a model, whose weights stay as they are.
  ///
  /// - Parameters:
  ///   - uses: The adapters; their scales are not stored.
  ///   - names: A name for each, by which it is chosen later.
  ///   - model: The base, which the adapters have to fit.
  ///   - destination: Where the result goes: a pleat file.
  /// - Returns: The plan, which nothing has been done for yet.
  /// - Throws: `ModelError` of kind `usage`, `unsupported` or `mismatch`.
  public static func attaching(
    _ uses: [AdapterUse], names: [String], to model: Model, at destination: Destination
  ) throws(ModelError) -> Plan {
    let changes = try model.pairs(with: uses)
    var attachments = model.attachments
    for (index, (use, name)) in zip(uses, names).enumerated() {
      guard !name.isEmpty else {
        throw ModelError(.usage, "an adapter needs a name", expected: "--name with a text")
      }
      guard !attachments.contains(where: { $0.adapter.name == name }) else {
        throw ModelError(
          .usage, "the model carries an adapter of that name", file: model.path, found: name,
          hint: "--name gives it another")
      }
      let pools = changes.contains { $0.adapter == index && $0.groupSize != nil }
      attachments.append(Attachment(use, name: name, pools: pools))
    }
    let planner = ConversionPlanner(format: destination.format, type: nil)
    var tensors: [TensorPlan] = []
    for tensor in model.catalog.tensors { tensors.append(try planner.plan(tensor)) }
    return try Plan(
      model, tensors, to: destination, notes: uses.flatMap(\.file.adapter.notes),
      history: ["action": "attach", "names": .array(names.map { .string($0) })],
      attachments: attachments)
  }
}

extension Model {
  /// The adapters that it carries, to be carried on.
  var attachments: [Attachment] { reader.attached.map { Attachment($0, of: self) } }
}

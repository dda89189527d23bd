internal import Adapters
internal import Bytes
package import Formats
internal import TensorModel
package import Weights

/// An adapter to be stored in the output, and the source of its tensors.
package struct Attachment: Sendable {
  /// The description for the output; `Plan` sets its range of stored tensors.
  package var adapter: AttachedAdapter
  /// The model or the adapter file that holds the tensors.
  package var model: Model
  /// The indices of the stored tensors in `model`.
  package var stored: [Int]

  /// Creates the attachment of an adapter that a model already carries.
  init(_ adapter: AttachedAdapter, of model: Model) {
    self.adapter = adapter
    self.model = model
    stored = Array(adapter.stored)
  }

  /// Creates the attachment of an adapter; its pooling is stored if it pools inputs.
  init(_ applied: AppliedAdapter, name: String, pools: Bool) {
    let pooling = applied.file.adapter.pooling ?? applied.pooling
    adapter = AttachedAdapter(
      name: name, kind: applied.file.adapter.kind.rawValue, config: applied.file.config,
      pooling: pools ? pooling?.rawValue : nil, checksum: applied.file.checksum, stored: 0..<0)
    model = applied.file.model
    stored = applied.file.stored
  }

  /// The stored tensors of the output, in order.
  var tensors: [StoredTensor] {
    stored.map { index in
      var tensor = model.reader.stored[index]
      tensor.storedByteCount = tensor.byteCount
      tensor.blockByteCount = min(tensor.byteCount, Self.pieceByteCount(of: tensor))
      return tensor
    }
  }

  /// The number of bytes that are copied at a time.
  ///
  /// It is a multiple of the block length, because a reader may have to swap the bytes of each
  /// number.
  static func pieceByteCount(of tensor: StoredTensor) -> Int {
    let block = max(1, tensor.encoding.block.byteCount)
    return max(block, (1 << 20) / block * block)
  }
}

extension AdapterFile {
  /// Opens an adapter that a model carries; nil if it carries none with that name.
  ///
  /// Throws `malformed`, `unsupported` or `mismatch` for an adapter that Pleat cannot interpret.
  public init?(attached name: String, in model: Model) throws(ModelError) {
    guard let adapter = model.reader.attached.first(where: { $0.name == name }) else { return nil }
    let tensors = adapter.stored.map { model.reader.stored[$0].info }
    let pooling = adapter.pooling.flatMap(Pooling.init(rawValue:))
    guard pooling != nil || adapter.pooling == nil else {
      throw ModelError(
        .malformed, "the attached adapter states an unknown pooling", file: model.path,
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
  /// Plans to store adapters in a model without merging them.
  ///
  /// - Parameters:
  ///   - adapters: The adapters. Their scales are not stored.
  ///   - names: A name for each adapter, by which it is selected later.
  ///   - model: The base model, which the adapters must fit.
  ///   - destination: The output: a pleat file.
  /// - Returns: The plan. Nothing is written before it runs.
  /// - Throws: `ModelError` of kind `usage`, `unsupported` or `mismatch`.
  public static func attaching(
    _ adapters: [AppliedAdapter], names: [String], to model: Model, at destination: Destination
  ) throws(ModelError) -> Plan {
    try model.requireNumbers()
    let changes = try model.pairs(with: adapters)
    var attachments = model.attachments
    for (index, (adapter, name)) in zip(adapters, names).enumerated() {
      guard !name.isEmpty else {
        throw ModelError(
          .usage, "the name of an adapter is empty", expected: "--name with at least one character")
      }
      guard !attachments.contains(where: { $0.adapter.name == name }) else {
        throw ModelError(
          .usage, "the model already carries an adapter with this name", file: model.path,
          found: name, hint: "give it another name with --name")
      }
      let pools = changes.contains { $0.adapter == index && $0.groupSize != nil }
      attachments.append(Attachment(adapter, name: name, pools: pools))
    }
    let planner = ConversionPlanner(format: destination.format, type: nil)
    return try Plan(
      model, try planner.decide(model), to: destination,
      notes: adapters.flatMap(\.file.adapter.notes),
      history: ["action": "attach", "names": .array(names.map { .string($0) })],
      head: try HeadPlan(model, to: destination.format),
      attachments: attachments)
  }
}

extension Model {
  /// The adapters that the model carries.
  var attachments: [Attachment] { reader.attached.map { Attachment($0, of: self) } }
}

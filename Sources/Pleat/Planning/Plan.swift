internal import Adapters
internal import Architectures
internal import Bytes
public import Formats
internal import Kernels
internal import SystemPackage
internal import TensorModel
public import Weights

/// Everything that a run will do, decided without reading a weight.
public struct Plan: Sendable {
  /// The model that is read.
  public let model: Model
  /// The format that is written.
  public let format: Format
  /// One job for each tensor, in the order of the source.
  public let jobs: [TensorJob]
  /// Notes for the user before the run.
  public let notes: [String]
  /// The adapters that are folded in.
  public let adapters: [AppliedAdapter]
  /// The total length of the output files; an upper bound unless `isExact`.
  public let byteCount: Int
  /// Whether `byteCount` is exact.
  public let isExact: Bool
  /// The names of the output files, relative to their folder.
  public let fileNames: [String]

  /// The number of elements of the output's tensors.
  public let elementCount: Int

  private let tensorByteCount: Int  // of the output's weights, before compression
  package let layout: any OutputLayout
  package let attachments: [Attachment]
  package let companions: [CompanionPlan]
  /// The stored tensors of the output that have no tensor in the source.
  package let additions: [(stored: Int, bytes: [UInt8])]
  /// The option without which the fold must not run; nil if none is missing.
  package let missingPermit: MissingPermit?

  /// The bits per weight of the output, over all tensors, before compression.
  public var bitsPerWeight: Double {
    elementCount == 0 ? 0 : Double(tensorByteCount) * 8 / Double(elementCount)
  }

  /// A text with the first and the last file of a split set; nil for one file, or a folder.
  public var splitName: String? { layout.splitName }

  /// The bits per weight of what was written: fewer than planned if it was compressed.
  public func bitsPerWeight(of size: WrittenSize) -> Double {
    elementCount == 0 ? 0 : Double(size.tensorByteCount) * 8 / Double(elementCount)
  }
}

extension Plan {
  /// Resolves a planner's decisions into a job for each tensor and the layout of the output.
  ///
  /// - Parameters:
  ///   - model: The model to read.
  ///   - wishes: The planner's decision for each tensor, in the order of the catalog.
  ///   - destination: The output.
  ///   - notes: The planner's notes for the user.
  ///   - history: The entry of this step in the provenance.
  ///   - head: What becomes of the output head. The wish for a head that is added comes last.
  ///   - rounding: Whether scales and biases may be rounded to a type of the format.
  ///   - adapters: The adapters that are folded in.
  ///   - attachments: The adapters that the output carries; nil for those that the model carries
  ///     and that are not folded in.
  ///   - missingPermit: The option without which the plan must not run.
  /// - Throws: `usage` and `unsupported` for what the format cannot store.
  init(
    _ model: Model, _ wishes: consuming [TensorWish], to destination: Destination,
    notes: [String],
    history: JSONValue, head: HeadPlan, rounding: Bool = false, adapters: [AppliedAdapter] = [],
    attachments: [Attachment]? = nil, missingPermit: MissingPermit? = nil
  ) throws(ModelError) {
    try destination.check()
    let format = destination.format
    let attachments = attachments ?? model.attachments(besides: adapters)
    try format.checkHolds(attachments)
    let tokenizer = try OutputTokenizer(
      of: model, for: destination, growing: VocabularyGrowth(copy wishes), by: adapters)
    let translation = try model.translation(
      for: destination, of: wishes.map(\.described), tokenizer)
    // Opening and translating a large model frees as much as the plan takes.
    Platform.returnFreedMemory()
    var resolver = JobResolver(model, destination, permitsRounding: rounding)
    for index in wishes.indices {
      let wish = wishes[index]
      try resolver.append(index == head.dropped ? wish.omitted : wish, translation)
    }
    wishes = []  // The layout needs the room of these and of the targets.
    var (jobs, targets) = resolver.take()
    let companions = try CompanionPlan.plans(
      for: model, tokenizer, targets, format, isTied: head.isTied)
    let additions = (translation?.additions ?? []).map {
      $0.retyped(asIn: targets, of: format)
    }
    var output = PlannedContents(resolver.stored, additions, attachments)
    let history = model.history + [history]
    // Blocks that a mix has made, now or earlier.
    let record = targets.contains(where: \.isQuantized) ? MixRecord(history) : nil
    if record != nil, format.usesGGUFNames { output.sort(placing: &jobs) }
    var contents = Contents(
      stored: output.stored,
      metadata: OutputMetadata.metadata(
        translation?.newMetadata ?? tokenizer.metadata,
        isTranslated: translation?.newMetadata != nil, jobs, format, history, record),
      companions: companions.map(\.companion),
      provenance: Provenance(sources: model.expectedSources, history: history))
    contents.attached = output.attached
    contents.checksums = resolver.checksums
    elementCount = targets.reduce(0) { $0 + $1.form.elementCount }
    let (tokenNotes, nameNotes) = (try tokenizer.notes(on: targets), format.notes(on: targets))
    targets = []
    Platform.returnFreedMemory()
    layout = try destination.layout(contents, for: model)
    try destination.check(
      layout, against: [model] + (adapters.map(\.file.model) + attachments.map(\.model)))
    tensorByteCount = resolver.byteCount
    self.model = model
    self.format = format
    self.jobs = jobs
    self.adapters = adapters
    self.attachments = output.attachments
    self.companions = layout.holdsCompanions ? companions : []
    self.additions = output.additions
    self.notes =
      model.notes + (translation?.notes ?? []) + tokenizer.notes
      + (try tokenizer.notes(on: adapters)) + tokenNotes + head.notes + notes + nameNotes
      + (translation?.newMetadata == nil
        ? OutputMetadata.losses(of: model, in: layout, format) : [])
    self.missingPermit = missingPermit
    byteCount = layout.byteCount
    isExact = layout.isExact
    fileNames = layout.fileNames
  }
}

/// The stored tensors of an output: those of weights, then additions, then attached adapters.
private struct PlannedContents {
  var stored: StoredTensors
  var additions: [(stored: Int, bytes: [UInt8])] = []
  var attached: [AttachedAdapter] = []
  var attachments: [Attachment] = []

  init(
    _ weights: StoredTensors, _ additions: [TensorAddition], _ attachments: [Attachment]
  ) {
    stored = weights
    for addition in additions {
      self.additions.append((stored.count, addition.bytes))
      stored.append(addition.stored)
    }
    for var attachment in attachments {
      attachment.adapter.stored = stored.count..<stored.count + attachment.stored.count
      attached.append(attachment.adapter)
      for tensor in attachment.tensors { stored.append(tensor) }
      self.attachments.append(attachment)
    }
  }

  /// Puts the tensors of a GGUF model in the order of llama-quantize, and updates their places.
  mutating func sort(placing jobs: inout [TensorJob]) {
    let order = GGUFTensorOrder.indices(of: stored.map(\.name))
    var places = Array(repeating: 0, count: stored.count)
    for (place, index) in order.enumerated() { places[index] = place }
    stored = stored.ordered(by: order)
    for index in additions.indices { additions[index].stored = places[additions[index].stored] }
    for index in jobs.indices {
      jobs[index].place.storedIndices = jobs[index].place.storedIndices.moved(to: places)
    }
  }
}

extension TensorAddition {
  /// The same tensor of F32, in the only type that weights of the output have.
  ///
  /// It stays as it is if they have several, or if the format does not ask for one.
  fileprivate func retyped(asIn tensors: [TensorInfo], of format: Format) -> TensorAddition {
    let types = ScalarType.ofNumbers(in: tensors)
    guard format.usesOneFloatType, types.count == 1, let type = types.first, type != .f32,
      case .plain(.f32) = stored.encoding,
      let target = StoredTensor(plain: stored.name, stored.shape, type)
    else { return self }
    var numbers = [Float](repeating: 0, count: stored.shape.elementCount)
    RowDecoder(stored.encoding)?.decode(bytes[...], into: &numbers)
    return TensorAddition(stored: target, bytes: FloatFormat(type).encoded(numbers))
  }
}

extension TensorInfo {
  /// Whether it consists of groups or blocks.
  fileprivate var isQuantized: Bool {
    if case .plain = encoding { false } else { true }
  }
}

extension Model {
  /// The source files for the provenance.
  ///
  /// Checksums that are known only after reading have a placeholder of the same length.
  fileprivate var expectedSources: [SourceFile] {
    if let provenance = reader.provenance { return provenance.sources }
    return reader.files.map {
      SourceFile(name: $0.path.name, byteCount: $0.byteCount, checksum: .init())
    }
  }

  /// The adapters that the model carries, without those in `folded`.
  fileprivate func attachments(besides folded: [AppliedAdapter]) -> [Attachment] {
    attachments.filter { carried in
      !folded.contains {
        $0.file.isAttached && $0.file.model.path == path
          && $0.file.name == carried.adapter.name
      }
    }
  }
}

extension Format {
  /// A note about names that the programs that load the format do not know.
  fileprivate func notes(on tensors: [TensorInfo]) -> [String] {
    // Names take long to search, and only tensors beside stacks can have such a name.
    guard isCheckpoint, !usesMLXNames, tensors.contains(where: { $0.shape.rank > 2 }),
      let stack = tensors.first(where: MLXNames.isStack)
    else { return [] }
    return [
      "experts keep the names of mlx-lm, which transformers does not load, such as \(stack.name)"
    ]
  }

  /// Throws `unsupported` if the format cannot store attached adapters.
  fileprivate func checkHolds(_ attachments: [Attachment]) throws(ModelError) {
    guard !container.features.contains(.provenance), !attachments.isEmpty else { return }
    throw ModelError(
      .unsupported, "\(name) cannot store the adapters that the model carries",
      found: attachments.map(\.adapter.name).joined(separator: ", "),
      hint: "pleat fold folds them in; pleat convert --drop-adapters leaves them out")
  }
}

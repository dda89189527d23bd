internal import Bytes
internal import Formats
internal import SystemPackage
public import TensorModel
internal import Weights

/// Makes the output of a plan whose parts were written by `PartRun`.
public struct PartFinish: Sendable {
  /// The plan, the same as that of the parts.
  public let plan: Plan
  /// The number of threads that compare the parts with their checksums.
  public var workerCount: Int
  /// Whether an existing output is replaced.
  public var replaces: Bool
  /// The request to stop.
  public var cancellation: Cancellation

  private let folder: PartFolder

  /// Creates the last step for the output at a path, which is that of the plan's destination.
  public init(
    _ plan: Plan, at path: String, workerCount: Int? = nil, replacing: Bool = false,
    cancellation: Cancellation = Cancellation()
  ) {
    self.plan = plan
    folder = PartFolder(for: FilePath(path))
    self.workerCount = max(1, workerCount ?? Platform.processorCount)
    replaces = replacing
    self.cancellation = cancellation
  }

  /// Checks that all parts are there and whole, writes the rest, and renames the files into place.
  ///
  /// A run that fails keeps the parts. Throws `usage` if parts are missing, incomplete, damaged or
  /// of another plan; else what a run throws.
  @discardableResult
  public func callAsFunction() throws(ModelError) -> Run.Outcome {
    let placement = try plan.partPlacement()
    Platform.returnFreedMemory()
    guard let statement = try folder.statement() else {
      throw ModelError.noParts(folder.destination)
    }
    let key = plan.key
    try folder.check(.init(key: key, count: statement.count, folder: "", arguments: []))
    let division = try PlanParts(plan, count: statement.count)
    func title(_ part: PlanParts.Part) throws(ModelError) -> String {
      try PartNumber(part.number, of: statement.count).journalTitle(key: key)
    }
    try checkComplete(division, statement, title)
    if folder.isSealed,
      try !contents(division, statement, placement, in: folder.output, title).damaged.isEmpty
    {
      // A killed run has renamed the files already, or some of them.
      let place = plan.layout.folder ?? folder.destination.parentFolder
      let found = try contents(division, statement, placement, in: place, title)
      if found.damaged.isEmpty {
        folder.remove()
        let size = WrittenSize(
          byteCount: plan.byteCount, tensorByteCount: plan.layout.contents.modelByteCount)
        return Run.Outcome(size: size, fold: found.fold(in: plan))
      }
      if plan.layout.folder == nil { try folder.takeBack(placement.files.map(\.name)) }
    }
    // Files in which no part has a block do not exist yet.
    for file in placement.files { _ = try folder.open(file.name, byteCount: file.byteCount) }
    let found = try contents(division, statement, placement, in: folder.output, title)
    try checkNone(found.damaged, "damaged", statement)
    return Run.Outcome(size: try write(found), fold: found.fold(in: plan))
  }

  /// What the parts have written and read.
  private struct Found {
    /// The checksums of the stored tensors, if the format states them; otherwise of none.
    var checksums: TensorChecksums
    var reads: [ReadRange] = []
    /// The parts whose bytes are not those of their journals.
    var damaged: [Int] = []
    /// What a fold lost in each block, in the order of the plan.
    var folds: [FoldMeasurement?] = []

    /// The report of one run with the same plan; nil if it folds no adapter.
    func fold(in plan: Plan) -> FoldReport? {
      plan.adapters.isEmpty
        ? nil : plan.foldReport(zip(plan.jobBlocks(), folds).map { ($0.job, $1) })
    }
  }

  /// Throws `usage` unless every part has listed all of its blocks.
  private func checkComplete(
    _ division: PlanParts, _ statement: PartFolder.Statement,
    _ title: (PlanParts.Part) throws(ModelError) -> String
  ) throws(ModelError) {
    var missing: [Int] = []
    for part in division.parts {
      let journal = try PartJournal(of: part, in: folder, plan, title: try title(part))
      guard let journal, journal.isDone, journal.blocks.count == part.blocks.count else {
        missing.append(part.number)
        continue
      }
    }
    try checkNone(missing, "missing or not complete", statement)
  }

  private func contents(
    _ division: PlanParts, _ statement: PartFolder.Statement, _ placement: FilePlacement,
    in place: FilePath, _ title: (PlanParts.Part) throws(ModelError) -> String
  ) throws(ModelError) -> Found {
    let check = try BlockCheck(placement, in: place, workerCount: workerCount)
    let statesChecksums = plan.format.container.features.contains(.provenance)
    var contents = Found(
      checksums: TensorChecksums(count: statesChecksums ? plan.layout.contents.stored.count : 0))
    for part in division.parts {
      let journal = try PartJournal(of: part, in: folder, plan, title: try title(part))
      let whole = try check.whole(journal?.blocks ?? [], cancellation)
      guard whole.count == part.blocks.count else {
        contents.damaged.append(part.number)
        continue
      }
      contents.reads += journal?.reads ?? []
      if !plan.adapters.isEmpty { contents.folds += whole.map(\.fold) }
      for piece in statesChecksums ? whole.flatMap(\.pieces) : [] {
        contents.checksums.add(
          piece.checksum, piece.offset..<piece.offset + piece.byteCount, of: piece.stored)
      }
    }
    return contents
  }

  /// Throws `usage` with the numbers of parts that have to be run again, if there are any.
  private func checkNone(
    _ parts: [Int], _ what: String, _ statement: PartFolder.Statement
  ) throws(ModelError) {
    guard let error = statement.error(parts, what, folder.destination) else { return }
    throw error
  }

  /// Writes what no part has written, checks the inputs, and gives the files their names.
  private func write(_ found: Found) throws(ModelError) -> WrittenSize {
    if plan.recordsSources {
      let files = plan.model.reader.files
      plan.startSourceChecksums()
      for read in found.reads where read.range.upperBound <= files[read.file].byteCount {
        files[read.file].addChecksum(read.checksum, of: read.range)
      }
    }
    var writing = OutputWriting(
      layout: plan.layout, readers: plan.readers, replaces: replaces, verifies: false)
    writing.filled = (folder, found.checksums)
    let (size, _) = try writing(
      fill: { (sink) throws(ModelError) in
        let copier = UnchangedParts(plan)
        try copier.copyCompanions(to: sink)
        try copier.copyTensors(to: sink, firstTicket: 0)
      },
      sources: { () throws(ModelError) in try plan.sources() })
    folder.remove()
    return size
  }
}

extension Contents {
  /// The number of bytes of the tensors of the model itself.
  fileprivate var modelByteCount: Int {
    stored.prefix(modelStoredCount).reduce(0) { $0 + $1.byteCount }
  }
}

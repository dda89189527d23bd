internal import Bytes
internal import Formats
internal import TensorModel

/// What the journal of a part says.
struct PartJournal {
  /// The blocks of the part that are on disk, by their index; no block twice.
  var blocks: [WrittenBlock] = []
  /// What was read of the source files.
  var reads: [ReadRange] = []
  /// Whether the part was complete, and its inputs had the checksums that they state.
  var isDone = false

  /// The last line of a part that is complete.
  static let done = "done"

  /// A journal that says nothing.
  init() {}

  /// Reads the journal of a part; nil if there is none of this plan.
  ///
  /// Lines that do not fit the plan are left out. Throws `io`.
  init?(
    of part: PlanParts.Part, in folder: PartFolder, _ plan: Plan, title: String
  ) throws(ModelError) {
    guard let lines = try folder.journal(of: part.number, title: title) else { return nil }
    let fileCount = plan.model.reader.files.count
    var found: [Int: WrittenBlock] = [:]
    for line in lines {
      if let block = WrittenBlock(line: line), part.blocks.contains(block.index) {
        found[block.index] = block
      } else if let read = ReadRange(line: line), read.file < fileCount {
        reads.append(read)
      } else if line == Self.done {
        isDone = true
      }
    }
    let (jobs, stored) = (plan.jobs, plan.layout.contents.stored)
    for (index, block) in zip(part.blocks, plan.jobBlocks(of: part)) {
      guard let written = found[index],
        written.belongs(to: jobs[block.job], block: block.block, stored)
      else { continue }
      blocks.append(written)
    }
  }
}

extension Plan {
  /// The blocks of a part, in their order.
  func jobBlocks(of part: PlanParts.Part) -> [JobBlock] {
    var blocks: [JobBlock] = []
    blocks.reserveCapacity(part.blocks.count)
    var next = part.start
    while blocks.count < part.blocks.count {
      if next.block < jobs[next.job].blockCount {
        blocks.append(next)
        next.block += 1
      } else {
        next = JobBlock(job: next.job + 1, block: 0)
      }
    }
    return blocks
  }

  /// Where the tensors of the output lie.
  ///
  /// Throws `usage` if that is not known before they are compressed.
  func partPlacement() throws(ModelError) -> FilePlacement {
    if let placement = layout.placement { return placement }
    throw ModelError(
      .usage, "a compressed output cannot be written in parts",
      expected: "an output whose size is known before it is written", found: "--compress",
      hint: "leave --compress out; pleat convert --compress compresses the finished file")
  }
}

extension PartNumber {
  /// The first line of the journal of a part.
  func journalTitle(key: String) -> String { "pleat part 1 \(self) \(key)" }
}

import Pleat
import TestSupport
import Testing

/// The division of a plan, and the numbers of parts.
@Suite struct PlanPartsTests {
  @Test("1,000 parts of 100,000 tensors take within 3 % of the mean") func balance() {
    var random = Seeded(17)
    var runs: [(count: Int, time: Int)] = []
    for _ in 0..<100_000 {
      // Norms of one small block, and matrices of up to twelve blocks.
      if random.below(3) == 0 { runs.append((1, random.below(10_000))) }
      runs.append((random.below(12), 30_000_000_000))
    }
    let ends = PlanParts.ends(runs, count: 1000)
    let sums = Self.sums(runs)
    #expect(ends.count == 1000 && ends.last == sums.count - 1)
    let times = zip([0] + ends, ends).map { sums[$1] - sums[$0] }
    let mean = Double(sums[sums.count - 1]) / 1000
    let worst = times.map { abs(Double($0) - mean) / mean }.max() ?? 1
    #expect(worst < 0.03)
  }

  /// The time of all blocks before each block, and at last that of all blocks.
  private static func sums(_ runs: [(count: Int, time: Int)]) -> [Int] {
    runs.reduce(into: [0]) { sums, run in
      for _ in 0..<run.count { sums.append(sums[sums.count - 1] + run.time) }
    }
  }

  @Test("parts end at the boundary that is nearest to their share") func nearest() {
    var random = Seeded(18)
    for _ in 0..<200 {
      let runs = (0..<random.below(9)).map { _ in
        (count: random.below(5), time: random.below(4) == 0 ? 0 : random.below(40))
      }
      let sums = Self.sums(runs)
      let count = 1 + random.below(12)
      let expected = (1..<count).map { number in
        let share = sums[sums.count - 1] * number / count
        let distances = sums.map { abs($0 - share) }
        return distances.lastIndex(of: distances.min() ?? 0) ?? 0
      }
      let ends = PlanParts.ends(runs, count: count)
      #expect(ends == expected + [sums.count - 1], "\(runs) in \(count)")
    }
  }

  /// A layer of a mixture of experts, in nanoseconds for each block of about 1 MiB.
  private static let experts: [(count: Int, time: Int)] =
    [
      (1, 30), (112, 14_000), (14, 14_000), (14, 14_000), (112, 14_000), (1, 1), (1, 1), (1, 30),
      (6, 3000),
    ] + Array(repeating: (28, 11_000), count: 384 * 3)

  @Test("1,000 parts of a mixture of 101,009 tensors take within 3 % of the mean")
  func experts() {
    let table = (count: 438, time: 3000)
    let runs =
      [table] + (0..<87).flatMap { _ in Self.experts } + [(count: 1, time: 30), table]
    #expect(runs.count == 101_010)
    let ends = PlanParts.ends(runs, count: 1000)
    let sums = Self.sums(runs)
    let times = zip([0] + ends, ends).map { sums[$1] - sums[$0] }
    let mean = Double(sums[sums.count - 1]) / 1000
    let worst = times.map { abs(Double($0) - mean) / mean }.max() ?? 1
    // A boundary is at most half a block from its share.
    #expect(worst < 0.001)
  }

  @Test("every block is in one part, also with more parts than blocks") func cover() throws {
    let parts = try PartCase()
    let plan = try parts.plan(try parts.model(), PartTests.ways[0], in: "a")
    let blockCount = plan.jobs.reduce(0) { $0 + $1.blockCount }
    for count in [1, 2, 5, 50] {
      let division = try PlanParts(plan, count: count).parts
      #expect(division.map(\.number) == Array(1...count))
      #expect(division.flatMap { Array($0.blocks) } == Array(0..<blockCount))
      #expect(
        division.reduce(0) { $0 + $1.targetByteCount }
          == plan.jobs.reduce(0) { $0 + $1.target.shape.elementCount * 2 })
    }
  }

  @Test("a plan is not divided into no parts, or very many") func limits() throws {
    let parts = try PartCase()
    let plan = try parts.plan(try parts.model(), PartTests.ways[0], in: "a")
    for count in [-1, 0, PlanParts.countLimit + 1] {
      let error = Laws.error { () throws(ModelError) in try PlanParts(plan, count: count) }
      #expect(error?.kind == .usage)
    }
  }

  static let slurm = ["SLURM_ARRAY_TASK_COUNT": "7", "SLURM_ARRAY_TASK_MIN": "1"]

  @Test(
    "numbers and schedulers",
    arguments: [
      ("3/7", [:], "3/7"), ("1/1", [:], "1/1"),
      ("auto", slurm.with("SLURM_ARRAY_TASK_ID", "3"), "3/7"),
      (
        "auto",
        [
          "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "0",
          "SLURM_ARRAY_TASK_MAX": "6", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_ID": "6",
        ], "4/4"
      ),
      ("auto/7", ["SLURM_ARRAY_TASK_ID": "5"], "5/7"),
      ("auto/7", ["JOB_COMPLETION_INDEX": "0"], "1/7"),
      ("auto/7", ["AWS_BATCH_JOB_ARRAY_INDEX": "6"], "7/7"),
      ("auto", ["AWS_BATCH_JOB_ARRAY_INDEX": "6", "AWS_BATCH_JOB_ARRAY_SIZE": "9"], "7/9"),
    ])
  func numbers(text: String, variables: [String: String], expected: String) throws {
    let number = try PartNumber(text: text) { variables[$0] }
    #expect(number.description == expected)
  }

  @Test(
    "numbers that mean no part are refused",
    arguments: [
      ("", [:]), ("3", [:]), ("0/7", [:]), ("8/7", [:]), ("1/2/3", [:]), ("a/7", [:]),
      ("auto", [:]), ("auto/x", [:]), ("auto", ["SLURM_ARRAY_TASK_ID": "3"]),
      ("auto/7", ["SLURM_ARRAY_TASK_ID": "0"]), ("auto/7", ["SLURM_ARRAY_TASK_ID": "x"]),
      ("auto", ["JOB_COMPLETION_INDEX": "1"]), ("auto/7", ["JOB_COMPLETION_INDEX": "7"]),
      ("auto/7", ["JOB_COMPLETION_INDEX": "9223372036854775807"]),
      (
        "auto",
        slurm.with("SLURM_ARRAY_TASK_ID", "3").with("SLURM_ARRAY_TASK_MAX", "9")
      ),
    ])
  func refused(text: String, variables: [String: String]) {
    let error = Laws.error { () throws(ModelError) in
      try PartNumber(text: text) { variables[$0] }
    }
    #expect(error?.kind == .usage)
  }
}

extension [String: String] {
  /// The variables with one more.
  fileprivate func with(_ name: String, _ value: String) -> [String: String] {
    merging([name: value]) { $1 }
  }
}

public import TensorModel

/// The number of a part, and how many parts there are.
public struct PartNumber: Sendable, Hashable, CustomStringConvertible {
  /// The number of the part, from 1.
  public let number: Int
  /// The number of parts.
  public let count: Int

  /// Creates a number; throws `usage` unless it is between 1 and `count`, and that within its limit.
  public init(_ number: Int, of count: Int) throws(ModelError) {
    guard (1...PlanParts.countLimit).contains(count), (1...count).contains(number) else {
      throw ModelError(
        .usage, "there is no such part",
        expected: "1/n to n/n, with n up to \(PlanParts.countLimit)", found: "\(number)/\(count)")
    }
    self.number = number
    self.count = count
  }

  /// The number and the count, such as `3/7`.
  public var description: String { "\(number)/\(count)" }

  /// Reads `3/7`, or `auto` and `auto/7` for the part that a scheduler has numbered.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - variable: The value of an environment variable; nil if it is not set.
  /// - Throws: `usage` for another text, or if no scheduler has numbered the part.
  public init(
    text: String, variable: (String) -> String?
  ) throws(ModelError) {
    let words = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let count = words.count == 2 ? Int(words[1]) : nil
    if words[0] == "auto", words.count == 1 || count != nil {
      self = try Self.scheduled(count, variable)
    } else if let number = Int(words[0]), let count {
      try self.init(number, of: count)
    } else {
      throw ModelError(
        .usage, "--part takes the number of a part", expected: "3/7 or auto", found: text)
    }
  }

  /// Finds the number that a scheduler has given: Slurm, Kubernetes or AWS Batch.
  private static func scheduled(
    _ count: Int?, _ variable: (String) -> String?
  ) throws(ModelError) -> PartNumber {
    func number(_ name: String) throws(ModelError) -> Int? {
      guard let text = variable(name) else { return nil }
      if let number = Int(text), (0...1 << 30).contains(number) { return number }
      throw ModelError(
        .usage, "the variable is no number", expected: "a number in \(name)", found: text)
    }
    if let task = try number("SLURM_ARRAY_TASK_ID") {
      if let count { return try PartNumber(check(task, of: count), of: count) }
      guard let tasks = try number("SLURM_ARRAY_TASK_COUNT"),
        let first = try number("SLURM_ARRAY_TASK_MIN")
      else { throw missing("SLURM_ARRAY_TASK_COUNT and SLURM_ARRAY_TASK_MIN") }
      let step = try number("SLURM_ARRAY_TASK_STEP") ?? 1
      let last = try number("SLURM_ARRAY_TASK_MAX") ?? first + (tasks - 1) * step
      guard step > 0, first + (tasks - 1) * step == last, (task - first) % step == 0 else {
        throw ModelError(
          .usage, "the tasks of the array are not numbered evenly", expected: "--array=1-\(tasks)",
          found: "\(tasks) tasks from \(first) to \(last)",
          hint: "--part auto/n says how many there are")
      }
      return try PartNumber((task - first) / step + 1, of: tasks)
    }
    if let index = try number("JOB_COMPLETION_INDEX") {
      guard let count else { throw missing("the number of completions") }
      return try PartNumber(index + 1, of: count)
    }
    if let index = try number("AWS_BATCH_JOB_ARRAY_INDEX") {
      let size = try number("AWS_BATCH_JOB_ARRAY_SIZE")
      guard let count = count ?? size else { throw missing("AWS_BATCH_JOB_ARRAY_SIZE") }
      return try PartNumber(index + 1, of: count)
    }
    throw ModelError(
      .usage, "no scheduler has numbered this part",
      expected: "SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX or AWS_BATCH_JOB_ARRAY_INDEX",
      hint: "give the number, such as --part 3/7")
  }

  /// The number of a Slurm task; throws `usage` for arrays that begin at 0.
  private static func check(_ task: Int, of count: Int) throws(ModelError) -> Int {
    guard task != 0 else {
      throw ModelError(
        .usage, "--part auto/\(count) counts from 1", expected: "--array=1-\(count)",
        found: "task 0", hint: "or give the number, such as --part 3/\(count)")
    }
    return task
  }

  private static func missing(_ what: String) -> ModelError {
    ModelError(
      .usage, "the number of parts is not known", expected: what,
      hint: "give it, such as --part auto/7")
  }
}
